"""What pages hear of transfers over HTTP: told beside them, and gone with them."""

import asyncio
from uuid import UUID

import pytest

from aggregation import under_way
from tests.integration.aggregation.plane import DATA, sha256

pytestmark = pytest.mark.django_db(transaction=True)


class Slow:
    """A request whose client sends some of its body, takes one piece, and then holds still."""

    def __init__(self, carrier, method, path, headers, begun=b""):
        pairs = {"authorization": f"Bearer {carrier.ticket}"} | headers
        self.scope = {
            "type": "http", "method": method, "path": f"/data/v1/{path}",
            "headers": [(k.lower().encode(), v.encode()) for k, v in pairs.items()],
        }  # fmt: skip
        self.plane = carrier.plane
        self.begun = begun
        self.is_gone = asyncio.Event()

    async def receive(self):
        if self.begun:
            piece, self.begun = self.begun, b""
            return {"type": "http.request", "body": piece, "more_body": True}
        await self.is_gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.body":
            await self.is_gone.wait()

    def start(self):
        return asyncio.create_task(self.plane(self.scope, self.receive, self.send))


async def told(assignment, wanted):
    async with asyncio.timeout(20):
        while True:
            found = await asyncio.to_thread(under_way.of, [UUID(assignment)])
            if wanted(found.get(UUID(assignment))):
                return found.get(UUID(assignment))
            await asyncio.sleep(0.02)


def test_an_upload_is_told_with_what_came_before_and_ends_with_its_client(carrier, redis):
    carrier.put(DATA, 0, DATA[:30], breaks=True)

    async def watch():
        said = {
            "Upload-Digest": sha256(DATA), "Upload-Length": str(len(DATA)),
            "Upload-Offset": "30", "Update-Weight": "1",
        }  # fmt: skip
        path = f"updates/{carrier.assignment.id}"
        one = Slow(carrier, "PUT", path, said, DATA[30:50])
        task = one.start()
        found = await told(carrier.assignment.id, lambda told: told and told.done_bytes == 50)
        assert (found.direction, found.size_bytes) == ("up", len(DATA))
        one.is_gone.set()
        await task
        await told(carrier.assignment.id, lambda told: told is None)

    asyncio.run(watch())


def test_a_download_is_told_from_its_range_on(carrier, redis):
    parameters = carrier.assignment.parameters

    async def watch():
        path = f"parameters/{parameters.digest}"
        one = Slow(carrier, "GET", path, {"Range": "bytes=10-"})
        task = one.start()
        found = await told(carrier.assignment.id, lambda told: told is not None)
        assert (found.direction, found.done_bytes) == ("down", 10)
        assert found.size_bytes == parameters.size_bytes
        one.is_gone.set()
        await task
        await told(carrier.assignment.id, lambda told: told is None)

    asyncio.run(watch())
