"""The gateway behind uvicorn, as in production, with transfers of several windows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy
import uvicorn
import websockets

from propius import wire
from tests.integration.gateway.world import digest_of, rows, square

SIDE = 900  # 3.1 MiB: more than three windows


@asynccontextmanager
async def served(application, ws: str = "websockets-sansio", **more) -> AsyncIterator[str]:
    config = uvicorn.Config(application, port=0, ws=ws, lifespan="off", log_config=None, **more)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/device/v1"
    finally:
        server.should_exit = True
        await task


async def control(socket) -> wire.FromGateway:
    return wire.decode_from_gateway(await asyncio.wait_for(socket.recv(), 10))


async def download(socket, assignment: wire.Assignment) -> bytes:
    digest, size = assignment.parameters.digest, assignment.parameters.size_bytes
    ask = wire.Download(assignment=assignment.id, transfer=1, digest=digest)
    await socket.send(wire.encode(ask))
    data = b""
    while len(data) < size:
        transfer, offset, payload = wire.unpack_chunk(await asyncio.wait_for(socket.recv(), 10))
        assert (transfer, offset) == (1, len(data))
        data += payload
        await socket.send(wire.encode(wire.Credit(transfer=1, size_bytes=len(payload))))
    return data


async def upload(socket, assignment: wire.Assignment, data: bytes) -> wire.FromGateway:
    announced = wire.Upload(
        assignment=assignment.id,
        transfer=2,
        digest=digest_of(data),
        size_bytes=len(data),
        weight=1,
    )
    await socket.send(wire.encode(announced))
    got = await control(socket)
    assert isinstance(got, wire.UploadReady)
    offset, credit = got.offset, got.credit
    while True:
        while credit:
            part = data[offset : offset + min(credit, wire.MAX_CHUNK)]
            await socket.send(wire.pack_chunk(2, offset, part))
            offset, credit = offset + len(part), credit - len(part)
        got = await control(socket)
        if not isinstance(got, wire.Credit):
            return got
        credit += got.size_bytes


async def test_a_round_over_a_real_websocket(world):
    await rows(lambda: world.job(side=SIDE))
    device = await rows(world.device)
    protocol = websockets.Subprotocol(wire.SUBPROTOCOL)
    async with (
        served(device.application) as url,
        websockets.connect(url, subprotocols=[protocol]) as socket,
    ):
        assert socket.subprotocol == wire.SUBPROTOCOL
        await socket.send(wire.encode(device.hello(await control(socket))))
        assert isinstance(await control(socket), wire.Welcome)
        await socket.send(wire.encode(wire.CheckIn()))
        while isinstance(assignment := await control(socket), wire.Idle):
            pass
        await socket.send(wire.encode(wire.Accept(assignment=assignment.id)))
        assert await download(socket, assignment) == square(numpy.zeros, SIDE)
        answer = await upload(socket, assignment, square(numpy.ones, SIDE))
        assert answer == wire.Accepted(assignment=assignment.id)
        await socket.send(wire.encode(wire.Leave()))
        await socket.wait_closed()
        assert socket.close_code == 1000
