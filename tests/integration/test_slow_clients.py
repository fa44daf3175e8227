"""Clients that send slowly, or nothing: each is cut off, on both ports, by uvicorn as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn

from core import knobs
from gateway import consumer, front
from gateway.app import Gateway
from propius import wire
from propius_site import asgi

DRIP_S = 0.05
HELLO = (
    b"GET /device/v1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: " + wire.SUBPROTOCOL.encode() + b"\r\n\r\n"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setenv("PROPIUS_REQUEST_HEAD_S", "0.3")
    monkeypatch.setenv("PROPIUS_REQUEST_BODY_S", "0.3")
    monkeypatch.setattr(consumer, "HELLO_S", 0.3)
    monkeypatch.setattr(consumer, "CLOSE_S", 0.3)
    monkeypatch.setattr(front, "BODY_S", 0.3)
    knobs.get.cache_clear()
    yield
    knobs.get.cache_clear()


@asynccontextmanager
async def port_of(name: str) -> AsyncIterator[int]:
    """Serve one of the two applications as `propius_site.serve` does."""
    application = asgi.web if name == "web" else Gateway().application()
    config = uvicorn.Config(
        application, port=0, log_config=None, lifespan="off" if name == "web" else "on",
        http="propius_site.patience:PatientProtocol",
        ws="gateway.sockets:DeviceSocket" if name == "gateway" else "websockets-sansio",
        ws_ping_interval=0.3, ws_ping_timeout=0.3,
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def heard(port: int, first: bytes, drip: bytes = b"", *, then: bytes = b"") -> bytes:
    """Send ``first``, then ``drip`` byte by byte without end; return what came until the close.

    With ``then``, that goes after the head of the answer to ``first``, which is left out.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    if then:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(then)

    async def go_on() -> None:
        while drip:
            writer.write(drip)
            await asyncio.sleep(DRIP_S)

    dripping = asyncio.create_task(go_on())
    told = b""
    try:
        async with asyncio.timeout(20):
            while piece := await reader.read(65_536):
                told += piece
    except ConnectionError:
        pass  # it closed with a drop of ours unread
    finally:
        dripping.cancel()
        writer.close()
    return told


@pytest.mark.parametrize("name", ["web", "gateway"])
@pytest.mark.parametrize(
    ("first", "drip"),
    [(b"", b""), (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: ", b"a")],
    ids=["silence", "a head that drips"],
)
async def test_a_connection_without_a_whole_request_is_closed(name, first, drip):
    async with port_of(name) as port:
        assert await heard(port, first, drip) == b""


async def test_a_second_request_may_not_drip_either():
    async with port_of("gateway") as port:
        first = b"GET /device/v1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX-A: "
        assert (await heard(port, first, b"a")).startswith(b"HTTP/1.1 200")


async def test_a_body_that_stops_is_refused_on_the_web_port():
    async with port_of("web") as port:
        head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n"
        assert (await heard(port, head + b"{")).startswith(b"HTTP/1.1 408")


async def test_a_body_that_drips_is_cut_off_on_the_gateways_port():
    async with port_of("gateway") as port:
        head = b"POST /device/v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n"
        assert b"200 OK" not in await heard(port, head, b" ")


async def test_a_socket_that_never_says_hello_is_told_and_closed():
    async with port_of("gateway") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HELLO)
        async with asyncio.timeout(20):
            await reader.readuntil(b"hello_timeout")
            await reader.readuntil(bytes((0x88,)))  # a close frame
        writer.close()


async def test_a_frame_that_never_ends_is_cut_off(monkeypatch):
    monkeypatch.setattr(consumer, "HELLO_S", 60)  # it is the missing pong that ends this
    async with port_of("gateway") as port:
        # A masked text of 60 000 bytes, of which one comes now and then.
        frame = bytes((0x81, 0xFE)) + (60_000).to_bytes(2) + b"mask"
        told = await heard(port, HELLO, b"x", then=frame)
        assert b"challenge" in told
        assert b"hello_timeout" not in told


async def test_who_speaks_in_time_is_served():
    async with port_of("gateway") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET /device/v1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" in await reader.readuntil(b"\r\n")
            await reader.readuntil(b'"type":"challenge"')
            await reader.readuntil(b"\n")
        writer.close()
