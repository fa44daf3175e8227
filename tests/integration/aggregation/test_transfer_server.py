"""The data plane under a large body, over a real socket, and in the web application."""

import asyncio
import hashlib
import json
import struct
import threading
import time
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import uvicorn

import jobs.services
from aggregation import blobs
from jobs.models import Artifact
from propius import wire
from tenants.scopes import scope, system_scope
from tests.integration import factories
from tests.integration.aggregation import worlds
from tests.integration.aggregation.plane import DATA, Client, exchange, incoming, sha256, updates
from tests.integration.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)


def test_memory_stays_flat_under_a_body_of_200_mb(plane):
    items = 50_000_000
    tenant, pool = factories.tenant(), factories.pool()
    with scope(tenant.id):
        jobs.services.register_artifact(
            tenant_id=tenant.id, kind=Artifact.Kind.PARAMETERS, digest="a" * 64,
            size_bytes=4 * items, status=Artifact.Status.VALID,
            tensors={"weight": {"shape": [items], "dtype": "F32"}}, errors={}, now=NOW,
        )  # fmt: skip
    with system_scope():
        job = jobs.services.submit(
            tenant_id=tenant.id, raw=factories.spec(), submitted_by="test",
            now=NOW,
        )  # fmt: skip
        jobs.services.admit(job_id=job.id, numbers={}, now=NOW)
    world = worlds.World(tenant, job, [factories.device(pool) for _ in range(8)])
    carrier = Client(plane, world.bind(world.round())[0][0])
    text = json.dumps(
        {"weight": {"dtype": "F32", "shape": [items], "data_offsets": [0, 4 * items]}}
    ).encode()
    header = struct.pack("<Q", len(text)) + text
    piece, count, rest = bytes(1 << 16), *divmod(4 * items, 1 << 16)
    pieces = [header, *[piece] * count, piece[:rest]]
    digest = hashlib.sha256()
    for one in pieces:
        digest.update(one)
    said = {"Upload-Digest": digest.hexdigest(), "Upload-Length": str(len(header) + 4 * items)}
    carrier.put(DATA, 0, b"x", headers=said, breaks=True)  # everything is imported, threads run
    with system_scope():
        (blobs.store().incoming / incoming()[0]).unlink()
    with _peak() as peak:
        began = time.monotonic()
        answer = carrier.put(DATA, 0, *pieces, headers=said)
        took_s = time.monotonic() - began
    assert answer.status == 200, answer.body
    print(f"200 MB up: {took_s:.2f} s, {200 / took_s:.0f} MB/s, +{peak.growth >> 10} KiB")
    assert peak.growth < 32 << 20


class _peak:  # noqa: N801
    """The most that anonymous memory grew; mapped pages of the file are the page cache's."""

    def __enter__(self):
        self.growth, self._ends = 0, threading.Event()
        self._base = self._now()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()

    def _watch(self):
        while not self._ends.wait(0.005):
            self.growth = max(self.growth, self._now() - self._base)

    @staticmethod
    def _now():
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = [one for one in lines if one.startswith("RssAnon:")]
        return int(line.split()[1]) << 10


async def carry(http: httpx.AsyncClient, assignment: wire.Assignment, data: bytes) -> bytes:
    """All that a device needs: the parameters, and its update from where the server has it."""
    digest = assignment.parameters.digest
    half = assignment.parameters.size_bytes // 2
    parts = [
        await http.get(f"parameters/{digest}", headers={"Range": f"bytes={span}"})
        for span in (f"0-{half - 1}", f"{half}-")
    ]
    assert [one.status_code for one in parts] == [206, 206]
    headers = {"Upload-Digest": sha256(data)}
    head = await http.head(f"updates/{assignment.id}", headers=headers)
    offset = int(head.headers["Upload-Offset"])
    headers |= {
        "Upload-Offset": str(offset), "Upload-Length": str(len(data)), "Update-Weight": "1",
    }  # fmt: skip
    put = await http.put(f"updates/{assignment.id}", content=data[offset:], headers=headers)
    assert wire.decode_from_gateway(put.content) == wire.Accepted(assignment=assignment.id)
    return b"".join(one.content for one in parts)


def test_a_small_client_does_it_over_a_real_socket(carrier):
    async def main():
        config = uvicorn.Config(
            carrier.plane, port=0, lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        auth = {"Authorization": f"Bearer {carrier.ticket}"}
        base = f"http://127.0.0.1:{port}/data/v1/"
        try:
            async with httpx.AsyncClient(base_url=base, headers=auth) as http:
                assert (await http.head("parameters/" + "b" * 64)).status_code == 403
                large = await http.put(
                    f"updates/{carrier.assignment.id}", content=bytes(500_000),
                    headers={"Authorization": "Bearer x"},
                )  # fmt: skip
                assert large.json()["code"] == "bad_ticket"
                return await carry(http, carrier.assignment, DATA)
        finally:
            server.should_exit = True
            await serving

    found = asyncio.run(main())
    assert sha256(found) == carrier.assignment.parameters.digest
    assert len(updates()) == 1


def test_the_web_application_serves_it_before_its_limit_on_bodies(carrier):
    from propius_site import asgi

    headers = {"Authorization": "Bearer x", "Content-Length": str(1 << 31)}
    answer = asyncio.run(exchange(asgi.web, "PUT", f"/data/v1/updates/{UUID(int=1)}", headers))
    assert answer.code == (401, "bad_ticket")
