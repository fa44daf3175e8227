"""A lean fleet: thousands of devices on real websockets with the real wire messages.

No websocket library: the generator shares the cores with what it measures. Frames are masked with
a key of zeros, which costs the server what any key does and the client nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from propius import wire

OPEN_S = 15.0
_UPGRADE = (
    "GET /device/v1 HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {wire.SUBPROTOCOL}\r\n\r\n"
).encode()
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, 0x80 | size, 0, 0, 0, 0)) + payload
    return struct.pack("!BBH4x", 0x80 | opcode, 0x80 | 126, size) + payload


CHECK_IN = frame(TEXT, wire.encode(wire.CheckIn()).encode())


def key_of(name: str) -> Ed25519PrivateKey:
    """Return the key of the device ``name``, the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


class Device(asyncio.Protocol):
    """One device; ``heard`` is called with each message's type and its bytes."""

    __slots__ = ("_buffer", "_open", "_welcome", "heard", "identifier", "key", "retry_s", "wire")

    def __init__(self, identifier: str, key: Ed25519PrivateKey) -> None:
        self.identifier = identifier
        self.key = key
        self.heard: Callable[[Device, bytes, bytes], None] = _ignore
        self.wire: Any = None
        self.retry_s: float | None = None
        self._buffer = b""
        self._open = False
        self._welcome: asyncio.Future[bool] | None = None

    async def sign_in(self, port: int) -> bool:
        """Connect and say hello; False if told to come back after ``retry_s``."""
        loop = asyncio.get_running_loop()
        self._buffer, self._open, self.retry_s = b"", False, None
        self._welcome = loop.create_future()
        await loop.create_connection(lambda: self, "127.0.0.1", port)
        return await self._welcome

    def check_in(self) -> None:
        """Say that the device is free."""
        self.wire.write(CHECK_IN)

    def accept(self, assignment: bytes) -> None:
        """Take an assignment."""
        self.wire.write(frame(TEXT, b'{"type":"accept","assignment":"%b"}' % assignment))

    def decline(self, assignment: bytes) -> None:
        """Give an assignment back."""
        text = b'{"type":"decline","assignment":"%b","code":"condition"}' % assignment
        self.wire.write(frame(TEXT, text))

    # --- asyncio.Protocol ---------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.wire = transport
        transport.write(_UPGRADE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle(is_in=False)
        self.heard(self, b"gone", b"")

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if not self._open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise SystemExit(head.decode(errors="replace"))
            self._open = True
        at = 0
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                if len(data) - at < 4:
                    break
                size, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            if len(data) < start + size:
                break
            self._frame(data[at] & 0xF, data[start : start + size])
            at = start + size
        self._buffer = data[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            # The type comes first in every message of the gateway's encoder.
            kind = payload[9 : payload.index(b'"', 9)]
            if self._welcome is not None:
                self._greet(kind, payload)
            self.heard(self, kind, payload)
        elif opcode == PING:
            self.wire.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self.wire.close()

    def _greet(self, kind: bytes, payload: bytes) -> None:
        if kind == b"challenge":
            nonce = msgspec.json.decode(payload)["nonce"]
            hello = wire.Hello(
                protocol=wire.PROTOCOL,
                device=self.identifier,
                signature=self.key.sign(wire.proof(nonce, self.identifier)).hex(),
                sdk="bench",
                attributes={},
                workloads={"handler": ["train"]},
            )
            self.wire.write(frame(TEXT, wire.encode(hello).encode()))
        elif kind == b"welcome":
            self._settle(is_in=True)
        elif kind == b"retry":
            self.retry_s = msgspec.json.decode(payload)["after_s"]

    def _settle(self, *, is_in: bool) -> None:
        if self._welcome is not None and not self._welcome.done():
            self._welcome.set_result(is_in)
        self._welcome = None


def field(payload: bytes, name: bytes) -> bytes:
    """Return the value of the first text field ``name``."""
    start = payload.index(b'"' + name + b'":"') + len(name) + 4
    return payload[start : payload.index(b'"', start)]


async def try_to_sign_in(one: Device, port: int) -> bool:
    """Sign in as an agent does, which does not wait for ever. Raises OSError, TimeoutError."""
    try:
        return await asyncio.wait_for(one.sign_in(port), OPEN_S)
    except TimeoutError:
        if one.wire is not None:
            one.wire.abort()
        raise


async def sign_in(devices: Iterable[Device], port: int, *, at_once: int = 100) -> None:
    """Connect all devices, some at once; each that is told to come back does so."""
    doors = asyncio.Semaphore(at_once)

    async def enter(one: Device) -> None:
        async with doors:
            while not await one.sign_in(port):
                await asyncio.sleep(one.retry_s or 1.0)

    await asyncio.gather(*map(enter, devices))


def _ignore(_: Device, __: bytes, ___: bytes) -> None:
    return None


async def until(done: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait for what the platform should do by then; end the benchmark if it does not."""
    ends_at = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > ends_at:
            raise SystemExit("the platform did not do in time what this benchmark waits for")
        await asyncio.sleep(0.02)
