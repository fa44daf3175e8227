"""A websocket that keeps to no rule unless it is asked to: a hostile device's, over TCP."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from dataclasses import dataclass

from propius import wire

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x01\x02\x03\x04"
WAIT_S = 60.0
UPGRADE = (
    b"GET /device/v1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: " + wire.SUBPROTOCOL.encode() + b"\r\n\r\n"
)


@dataclass(frozen=True)
class Frame:
    """One frame on its way to the gateway; ``claims`` is the size in its head, if not the true."""

    opcode: int
    payload: bytes
    is_last: bool = True
    reserved: int = 0
    is_masked: bool = True
    claims: int | None = None

    def encoded(self) -> bytes:
        size = len(self.payload) if self.claims is None else self.claims
        head = bytes([self.is_last << 7 | self.reserved << 4 | self.opcode])
        masked = self.is_masked << 7
        if size < 126 and self.claims is None:
            head += bytes([masked | size])
        elif size < 65_536:
            head += bytes([masked | 126]) + struct.pack("!H", size)
        else:
            head += bytes([masked | 127]) + struct.pack("!Q", size)
        if not self.is_masked:
            return head + self.payload
        whole = (MASK * (len(self.payload) // 4 + 1))[: len(self.payload)]
        number = int.from_bytes(self.payload) ^ int.from_bytes(whole)
        return head + MASK + number.to_bytes(len(self.payload))


class RawLine:
    """A connection whose upgrade has been made."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> RawLine:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE)
        async with asyncio.timeout(WAIT_S):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        return cls(reader, writer)

    async def write(self, data: bytes) -> None:
        with suppress(OSError):
            self._writer.write(data)
            await self._writer.drain()

    async def say(self, message: wire.Message) -> None:
        await self.write(Frame(TEXT, wire.encode(message).encode()).encoded())

    async def hear(self) -> wire.FromGateway | bytes:
        """Return the next control message, or a chunk's frame; a slow machine sees pings too."""
        while (frame := await self._frame())[0] == PING:
            await self.write(Frame(PONG, frame[1]).encoded())
        opcode, payload = frame
        assert opcode in (TEXT, BINARY), (opcode, payload)
        return payload if opcode == BINARY else wire.decode_from_gateway(payload)

    async def end(self, how: str) -> list[tuple[int, bytes]]:
        """End the connection; return the frames that came until then, of those that still do."""
        heard: list[tuple[int, bytes]] = []
        if how == "abort":
            self._writer.transport.abort()
            return heard
        with suppress(OSError, asyncio.IncompleteReadError):
            if how == "close":
                await self.write(Frame(CLOSE, struct.pack("!H", 1000)).encoded())
            self._writer.write_eof()
            while True:
                heard.append(await self._frame())
        self._writer.transport.abort()
        return heard

    async def _frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(WAIT_S):
            first, size = await self._reader.readexactly(2)
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
            return first & 0x0F, await self._reader.readexactly(size)
