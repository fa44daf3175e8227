"""Transfers through a line that is cut again and again, and to a device that does not read."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy
import pytest
import websockets

from aggregation import blobs
from aggregation.under_way import Transfers
from gateway import downloads, line
from gateway.downloads import Downloads
from gateway.instructions import StartDownload
from gateway.threads import Threads
from propius import wire
from propius.agent.downloads import RETURN_CREDIT
from propius.agent.uploads import CHUNK
from tests.integration.gateway.test_real_socket import control, served
from tests.integration.gateway.world import digest_of, rows, square

SIDE = 5000  # 100 MB
CUTS = 5
WORDS = 64 * 1024
"""More than all headers and messages of all connections."""
BUFFERS = 4 * 1024 * 1024


class CuttingProxy:
    """Stands before the gateway, and cuts the line each time that so much has passed one way."""

    def __init__(self, port: int) -> None:
        self.passed = {"up": 0, "down": 0}
        self.cuts: dict[str, list[int]] = {"up": [], "down": []}
        self.lines: list[asyncio.Task] = []
        self._gateway = port

    def cut_within(self, way: str, size_bytes: int) -> None:
        parts = range(1, CUTS + 1)
        self.cuts[way] = [self.passed[way] + size_bytes * n // (CUTS + 1) for n in parts]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines.append(asyncio.current_task())
        from_gateway, to_gateway = await asyncio.open_connection("127.0.0.1", self._gateway)
        up = asyncio.create_task(self._pump("up", reader, to_gateway))
        down = asyncio.create_task(self._pump("down", from_gateway, writer))
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        writer.transport.abort()
        up.cancel()
        await asyncio.wait([up])
        with suppress(OSError):
            to_gateway.write_eof()
        if down.done():
            # What is on its way counts as sent, though nobody gets it.
            with suppress(OSError):
                while data := await from_gateway.read(1 << 16):
                    self.passed["down"] += len(data)
        await asyncio.wait([up, down])
        to_gateway.transport.abort()

    async def _pump(
        self, way: str, source: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                self.passed[way] += len(data)
                if self.cuts[way] and self.passed[way] >= self.cuts[way][0]:
                    del self.cuts[way][0]
                    return
                target.write(data)
                await target.drain()


class Device:
    """Goes on after each cut where it was."""

    def __init__(self, url: str, fake) -> None:
        self._url = url
        self._fake = fake
        self.data = bytearray()
        self.sent = 0

    async def connect(self):
        protocol = websockets.Subprotocol(wire.SUBPROTOCOL)
        socket = await websockets.connect(
            self._url, subprotocols=[protocol], compression=None, ping_interval=None
        )
        await socket.send(wire.encode(self._fake.hello(await control(socket))))
        welcome = await control(socket)
        assert isinstance(welcome, wire.Welcome)
        return socket, welcome.resume

    async def until_done(self, work) -> int:
        """Do ``work`` on one connection after the other; return how many were cut."""
        for cuts in range(CUTS + 2):
            socket, assignment = await self.connect()
            try:
                if assignment is None:
                    await socket.send(wire.encode(wire.CheckIn()))
                    while isinstance(assignment := await control(socket), wire.Idle):
                        pass
                    await socket.send(wire.encode(wire.Accept(assignment=assignment.id)))
                await work(socket, assignment)
                return cuts
            except websockets.ConnectionClosed:
                continue
            finally:
                await socket.close()
        raise AssertionError("cut more often than the proxy does")

    async def download(self, socket, assignment: wire.Assignment) -> None:
        blob = assignment.parameters
        ask = wire.Download(
            assignment=assignment.id, transfer=1, digest=blob.digest, offset=len(self.data)
        )
        await socket.send(wire.encode(ask))
        owed = 0
        while len(self.data) < blob.size_bytes:
            _, offset, payload = wire.unpack_chunk(await asyncio.wait_for(socket.recv(), 30))
            assert offset == len(self.data)
            self.data += payload
            owed += len(payload)
            if owed >= RETURN_CREDIT:
                await socket.send(wire.encode(wire.Credit(transfer=1, size_bytes=owed)))
                owed = 0

    async def upload(self, socket, assignment: wire.Assignment, data: bytes) -> None:
        announced = wire.Upload(
            assignment=assignment.id, transfer=2, digest=digest_of(data), size_bytes=len(data),
            weight=1,
        )  # fmt: skip
        await socket.send(wire.encode(announced))
        ready = await control(socket)
        assert isinstance(ready, wire.UploadReady), ready
        offset, credit = ready.offset, ready.credit
        while True:
            while credit:
                part = data[offset : offset + min(credit, CHUNK)]
                self.sent += len(part)
                await socket.send(wire.pack_chunk(2, offset, part))
                offset, credit = offset + len(part), credit - len(part)
            got = await control(socket)
            if not isinstance(got, wire.Credit):
                assert got == wire.Accepted(assignment=assignment.id)
                return
            credit += got.size_bytes


async def test_five_cuts_each_way_cost_at_most_a_window_each(world):
    await rows(lambda: world.job(side=SIDE))
    fake = await rows(world.device)
    down, up = square(numpy.zeros, SIDE), square(numpy.ones, SIDE)
    async with served(fake.application, ws="gateway.sockets:DeviceSocket") as url:
        proxy = CuttingProxy(int(url.split(":")[2].split("/")[0]))
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        device = Device(f"ws://127.0.0.1:{port}/device/v1", fake)

        proxy.cut_within("down", len(down))
        assert await device.until_done(device.download) == CUTS
        assert device.data == down
        assert len(down) <= proxy.passed["down"] <= len(down) + CUTS * wire.WINDOW + WORDS

        proxy.cut_within("up", len(up))
        assert await device.until_done(lambda *line: device.upload(*line, up)) == CUTS
        assert len(up) <= device.sent <= len(up) + CUTS * wire.WINDOW
        await asyncio.gather(*proxy.lines)
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("at_once", [1, downloads.MAX_AT_ONCE])
async def test_a_device_that_never_reads_fills_no_memory(db, at_once):
    """Whatever credit it gives."""
    with blobs.store().writer() as writer:
        for _ in range(16):
            writer.write(bytes(1 << 20))
        digest = writer.commit()
    handed: list[int] = []
    stuck = asyncio.Event()

    async def never(frame) -> None:
        handed.append(len(frame["bytes"]))
        await stuck.wait()

    def moved(_: str, fraction: float) -> None:
        raise AssertionError(f"sent {fraction:.0%} to nobody")

    threads = Threads()
    out = line.Line(never, lambda: None)
    running = Downloads(out, threads, lambda *why: pytest.fail(str(why)), Transfers())
    for transfer in range(at_once):
        blob = wire.Blob(digest=digest, size_bytes=16 << 20)
        running.start(StartDownload("a", transfer, blob, 0, 1 << 40), moved)
        running.add_credit(transfer, 1 << 40)
    async with asyncio.timeout(20):
        while out._queued < line.CHUNKS_QUEUED or not all(
            map(_has_read, running._running.values())
        ):
            await asyncio.sleep(0.01)
    waiting = out._queued
    # Each transfer holds what it has read besides; the line holds what all have queued.
    assert waiting <= line.CHUNKS_QUEUED + at_once * (wire.MAX_CHUNK + wire.CHUNK_HEADER.size)
    assert waiting + at_once * downloads.READ_BYTES <= at_once * BUFFERS
    tasks = [task for _, task in running._running.values()]
    running.stop()
    await asyncio.wait(tasks)
    out.drop()
    threads.stop()


def _has_read(one) -> bool:
    """Its file is open and closed with it; it waits for room in the line."""
    reading = one[0]._reading
    return reading is not None and reading.done()
