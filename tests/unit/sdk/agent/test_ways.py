"""Transfers by a leaf and over HTTP, against servers that answer as they should not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from propius import plain, wire
from propius.agent import departure, identity, network
from propius.agent.cache import BlobCache
from propius.agent.events import Deliver, Delivered, DownloadFinished, Finished, StartDownload
from propius.agent.history import Usage
from propius.agent.http_line import HttpLine
from propius.agent.http_transfers import Transfers
from propius.agent.identity import Home
from propius.agent.leaf import LeafTransfers
from propius.agent.options import AgentOptions
from propius.agent.spool import Spool
from propius.agent.visits import Visits
from propius.tensors import TensorError
from tests.unit.sdk.agent.scripted import (
    Peer,
    assignment,
    blob,
    device_home,
    gateway,
    point_to,
)
from tests.unit.sdk.agent.test_network import ME, certificate

UPDATE = b"an update" * 100


class Counts(Usage):
    def received(self, size_bytes: int) -> None:
        self.bytes_in += size_bytes

    def sent(self, size_bytes: int) -> None:
        self.bytes_out += size_bytes


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(device_home(tmp_path / "device"))


@asynccontextmanager
async def answering(*answers: bytes, **tls: Any) -> AsyncIterator[int]:
    """A server that gives each request the next of these answers; its port."""
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if "content-length:" in head:
            await reader.readexactly(int(head.split("content-length:")[1].split()[0]))
        writer.write(left.pop(0) + b"Connection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, **tls)
    yield server.sockets[0].getsockname()[1]
    server.close()


def leaf_transfers(
    home: Home, events: asyncio.Queue[Any], counts: Counts, **options: Any
) -> LeafTransfers:
    (home / "spool").mkdir(exist_ok=True)
    spool = Spool(home / "spool")
    spool.update("a1").write_bytes(UPDATE)
    cache = BlobCache(home / "cache", home / "partial", max_bytes=1 << 20)
    return LeafTransfers(
        cache, spool, counter=counts, emit=events.put_nowait, fallback=events.put_nowait, **options
    )


async def delivered(events: asyncio.Queue[Any]) -> None:
    async with asyncio.timeout(60):
        while not isinstance(await events.get(), Delivered):
            pass


def delivery(leaf: str) -> Deliver:
    return Deliver("a1", 1, Finished(1.0, {}, "d" * 64, len(UPDATE)), leaf, "ticket")


async def test_a_leaf_that_answers_nonsense_leaves_the_way_by_the_gateway(home: Home) -> None:
    events: asyncio.Queue[Any] = asyncio.Queue()
    async with answering(b"HTTP/1.1 200 OK\r\nUpload-Offset: soon\r\n") as port:
        leaf_transfers(home, events, Counts(), tls=None).start(delivery(f"http://127.0.0.1:{port}"))
        await delivered(events)


async def test_bytes_by_a_leaf_count_and_the_owners_authority_is_trusted(
    home: Home, tmp_path: Path
) -> None:
    events: asyncio.Queue[Any] = asyncio.Queue()
    context, ca = certificate(tmp_path)
    network.keep(ca, home)
    counts = Counts()
    begun = b"HTTP/1.1 200 OK\r\nUpload-Offset: 100\r\n"
    taken = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
    async with answering(begun, taken, ssl=context) as port:
        one = leaf_transfers(home, events, counts, tls=network.trust(home))
        one.start(delivery(f"https://127.0.0.1:{port}"))
        await delivered(events)
    assert counts.bytes_out == len(UPDATE) - 100


async def test_leaving_trusts_the_owners_authority(home: Home, tmp_path: Path) -> None:
    context, ca = certificate(tmp_path)
    network.keep(ca, home)
    async with answering(b"HTTP/1.1 204 No Content\r\n", ssl=context) as port:
        identity.save_enrolment(
            home,
            identity.Enrolment(
                device="d1", gateway="ws://x", pool="p", pool_tenants=[],
                url=f"https://127.0.0.1:{port}",
            ),
        )  # fmt: skip
        done = await asyncio.to_thread(departure.leave, home, erase=False)
    assert done.revoked, done.why_not


def answers(**by_method: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.MockTransport(lambda request: by_method[request.method](request))
    )


async def test_a_download_that_the_platform_refuses_fails_in_words(home: Home) -> None:
    events: asyncio.Queue[Any] = asyncio.Queue()

    async def renew() -> wire.Assignment | None:
        return None

    problem = {"code": "wrong_ticket", "detail": "the ticket is not for it"}
    async with answers(GET=lambda _: httpx.Response(403, json=problem)) as client:
        cache = BlobCache(home / "cache", home / "partial", max_bytes=1 << 20)
        transfers = Transfers(
            client, data="http://data", cache=cache, counter=Counts(), emit=events.put_nowait,
            renew=renew,
        )  # fmt: skip
        running = asyncio.create_task(transfers.run())
        transfers.start(StartDownload("a1", 1, blob(b"model"), "", ""))
        async with asyncio.timeout(60):
            ended = await events.get()
        running.cancel()
    assert isinstance(ended, DownloadFinished)
    assert ended.error is not None
    assert ended.error.message == "wrong_ticket: the ticket is not for it"


async def test_without_a_way_by_a_leaf_the_update_is_announced_at_once(home: Home) -> None:
    events: asyncio.Queue[Any] = asyncio.Queue()
    async with answers() as client:
        line = HttpLine(
            Visits(client, "ws://gateway", ME), data="http://data", asks=True,
            cache=BlobCache(home / "cache", home / "partial", max_bytes=1), spool=Spool(home.path),
            counter=Counts(), on_message=events.put_nowait, emit=events.put_nowait,
        )  # fmt: skip
        line.start(delivery("http://leaf"))
        async with asyncio.timeout(60):
            assert await events.get() == Delivered(1)


@pytest.mark.parametrize(
    ("first", "second", "accepted"),
    [
        ((507, "storage_full"), None, True),
        ((503, "storage_failed"), None, True),
        ((409, "upload_busy"), None, True),
        ((422, "digest_mismatch"), None, True),
        ((422, "digest_mismatch"), (422, "digest_mismatch"), False),
        ((422, "not_finite"), None, False),
    ],
)
async def test_an_update_goes_again_over_http_after_what_passes(
    home: Home, first: tuple[int, str], second: tuple[int, str] | None, accepted: bool
) -> None:
    left = [one for one in (first, second) if one is not None]

    def put(request: httpx.Request) -> httpx.Response:
        if not left:
            return httpx.Response(200)
        status, code = left.pop(0)
        return httpx.Response(status, json={"code": code, "detail": "not now"})

    async def renew() -> wire.Assignment | None:
        return None

    path = home / "update"
    path.write_bytes(UPDATE)
    order = wire.Upload(
        assignment="a1", transfer=1, digest="d" * 64, size_bytes=len(UPDATE), weight=1.0,
        metrics={},
    )  # fmt: skip
    async with answers(
        HEAD=lambda _: httpx.Response(200, headers={"Upload-Offset": "0"}), PUT=put
    ) as client:
        transfers = Transfers(
            client, data="http://data",
            cache=BlobCache(home / "cache", home / "partial", max_bytes=1 << 20),
            counter=Counts(), emit=lambda event: None, renew=renew,
        )  # fmt: skip
        async with asyncio.timeout(60):
            got = await transfers.put(order, path)
    assert isinstance(got, wire.Accepted) == accepted
    assert not left


async def test_a_line_over_http_ends_when_what_it_sends_can_go_no_further(home: Home) -> None:
    heard: list[wire.FromGateway] = []
    ndjson = {"content-type": "application/x-ndjson"}
    challenge = wire.encode(wire.Challenge(nonce="0" * 64, protocols=[wire.PROTOCOL]))
    refusal = {"code": "digest_mismatch", "detail": "other bytes"}
    async with answers(
        GET=lambda _: httpx.Response(200, text=challenge, headers=ndjson),
        HEAD=lambda _: httpx.Response(200, headers={"Upload-Offset": "0"}),
        PUT=lambda _: httpx.Response(422, json=refusal),
        POST=lambda _: httpx.Response(200, text="no message", headers=ndjson),
    ) as client:
        (home / "spool").mkdir(exist_ok=True)
        spool = Spool(home / "spool")
        spool.update("a1").write_bytes(UPDATE)
        line = HttpLine(
            Visits(client, "ws://gateway", ME), data="http://data", asks=True,
            cache=BlobCache(home / "cache", home / "partial", max_bytes=1 << 20), spool=spool,
            counter=Counts(), on_message=heard.append, emit=lambda event: None,
        )  # fmt: skip
        line.send(
            wire.Upload(
                assignment=assignment("a1").id, transfer=1, digest="d" * 64,
                size_bytes=len(UPDATE), weight=1.0, metrics={},
            )
        )  # fmt: skip
        async with asyncio.timeout(60):
            with pytest.raises(wire.ProtocolError):
                await line.run()


async def test_a_task_that_the_plain_loop_cannot_read_fails_at_once(home: Home) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(assignment(parameters=b"no model"))
        await peer.expect(wire.Accept)
        await peer.serve_blob(b"no model")
        assert (await peer.expect(wire.Fail)).code == "bad_assignment"

    async with gateway(script) as one:
        point_to(home.path, one.url)
        name = str(assignment().workload["handler"])
        loop = plain.Loop(home.path, handler=name, options=AgentOptions())
        with pytest.raises(TensorError):
            await asyncio.to_thread(loop.receive, 10.0)
        await one.finished()
        await asyncio.to_thread(loop.close)
