"""The scripted gateway: enrols the client under test, and lends its lines to a case."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_sockets
from websockets.exceptions import ConnectionClosed

from propius import wire
from propius.conformance import http
from propius.conformance.http import Request

DEVICE, TOKEN = "019b7c1e-5a10-7c3e-9d2f-3b0a5c6d7e8f", "ppe_conformance"
WAIT_S = 20.0
T = TypeVar("T")


class Failed(Exception):
    """The client did something else than the protocol says; the text tells what."""


def tensors(count: int, value: float) -> bytes:
    """Return a safetensors file with one float32 tensor ``weight`` of ``count`` equal values."""
    header = {"weight": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + struct.pack("<f", value) * count


def values_of(content: bytes) -> set[float]:
    """Return the values of a file like :func:`tensors`'. Raises :class:`Failed`."""
    try:
        size = struct.unpack_from("<Q", content)[0]
        header = json.loads(content[8 : 8 + size])
        begin, end = header["weight"]["data_offsets"]
        body = content[8 + size :][begin:end]
        return {one for (one,) in struct.iter_unpack("<f", body)}
    except (ValueError, KeyError, struct.error) as error:
        raise Failed(f"the update is no safetensors file with a tensor 'weight': {error}") from None


def assignment(parameters: bytes, **changes: Any) -> wire.Assignment:
    """Return an assignment that trains ``add_one`` from ``parameters``."""
    plain = wire.Assignment(
        id="a1", job="j1", job_name="conformance", tenant="acme", round="r1", number=1, attempt=1,
        kind="train", constraints={}, program=None, codec="fp32", max_update_bytes=1 << 24, seed=7,
        workload={"kind": "handler", "handler": "add_one", "dataset": "numbers",
                  "config": {"seconds": 0}},
        parameters=wire.Blob(
            digest=hashlib.sha256(parameters).hexdigest(), size_bytes=len(parameters)
        ),
        start_s=10.0, lease_s=30.0, deadline_s=60.0, ticket="ticket-1",
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


async def within(what: str, work: Any) -> Any:
    """Wait for the client. Raises :class:`Failed` if it does not come."""
    try:
        return await asyncio.wait_for(work, WAIT_S)
    except TimeoutError:
        raise Failed(f"no {what} within {WAIT_S:g} s") from None


class Peer:
    """A websocket of the client under test."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket
        self.closed = asyncio.Event()
        self.between: list[wire.Message] = []
        """What came besides what was expected: pings, progress, credits."""

    async def send(self, message: wire.Message) -> None:
        """Say something."""
        with contextlib.suppress(ConnectionClosed):
            await self._socket.send(wire.encode(message))

    async def chunk(self, transfer: int, offset: int, payload: bytes) -> None:
        """Send a chunk."""
        await self._socket.send(wire.pack_chunk(transfer, offset, payload))

    async def frame(self) -> wire.FromDevice | tuple[int, int, bytes]:
        """Return what comes next. Raises :class:`Failed` if the client closes."""
        try:
            frame = await within("message", self._socket.recv())
        except ConnectionClosed as error:
            raise Failed(f"the client closed: {error}") from None
        try:
            if isinstance(frame, str):
                return wire.decode_from_device(frame)
            transfer, offset, payload = wire.unpack_chunk(frame)
        except wire.ProtocolError as error:
            raise Failed(f"a frame that the protocol does not know: {error}") from None
        return transfer, offset, bytes(payload)

    async def expect(self, kind: type[T], *, besides: type[wire.Message] = wire.Ping) -> T:
        """Return the next message of this kind; only what may come at any time comes before it."""
        while True:
            one = await self.frame()
            if isinstance(one, kind):
                return one
            if isinstance(one, wire.Ping):
                await self.send(wire.Pong())
            if not isinstance(one, wire.Ping | wire.Progress | wire.Credit | besides):
                name = type(one).__name__.lower()
                raise Failed(f"{name} came; expected {kind.__name__.lower()}")
            assert not isinstance(one, tuple)
            self.between.append(one)

    async def hello(self, gateway: Gateway, *, resume: wire.Assignment | None = None) -> wire.Hello:
        """Challenge the client, check its proof, and welcome it."""
        nonce = gateway.nonce()
        await self.send(wire.Challenge(nonce=nonce, protocols=[1]))
        hello = await self.expect(wire.Hello)
        gateway.check(hello, nonce)
        await self.send(wire.Welcome(session="s1", server="scripted", ping_s=0.5, resume=resume))
        return hello

    async def drop(self) -> None:
        """Break the line."""
        self._socket.transport.abort()

    async def close(self, code: int = 1000) -> None:
        """Close it properly."""
        await self._socket.close(code)


class Gateway:
    """What a case talks to the client through."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.url = self._gateway = self.last = ""
        self._key: Ed25519PublicKey | None = None
        self._nonces = 0
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._requests: asyncio.Queue[tuple[Request, asyncio.Future[None]]] = asyncio.Queue()
        self._open: asyncio.Future[None] | None = None

    async def connection(self) -> Peer:
        """Return the client's next websocket."""
        found: Peer = await within("connection", self._peers.get())
        return found

    async def any_request(self) -> Request:
        """Return the client's next request; the one before is ended."""
        self.settle()
        request, self._open = await within("request", self._requests.get())
        found: Request = request
        return found

    async def request(self, method: str, path: str = "/device/v1") -> Request:
        """Return the client's next request, which must be this one."""
        request = await self.any_request()
        if request.method != method or not request.path.startswith(path):
            raise Failed(f"{request.method} {request.path} came; expected {method} {path}")
        return request

    def settle(self) -> None:
        """Let go of the request at hand."""
        if self._open is not None and not self._open.done():
            self._open.set_result(None)

    def nonce(self) -> str:
        """Return a nonce, the same in every run."""
        self._nonces += 1
        return hashlib.sha256(f"nonce {self._nonces}".encode()).hexdigest()

    def check(self, hello: wire.Hello, signed: str) -> None:
        """Check who says hello. Raises :class:`Failed`."""
        if self._key is None:
            raise Failed("hello before the client has enrolled")
        if hello.protocol != wire.PROTOCOL or hello.device != DEVICE:
            raise Failed(f"hello of device {hello.device}, protocol {hello.protocol}")
        try:
            self._key.verify(bytes.fromhex(hello.signature), wire.proof(signed, DEVICE))
        except InvalidSignature:
            raise Failed("the signature of the hello does not fit nonce and device") from None
        if "add_one" not in hello.workloads.get("handler", []):
            raise Failed(f"the hello names no handler add_one: {hello.workloads}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen."""
        server = await http.serve(self._over_http)
        port = http.port_of(server)
        self.url = f"http://127.0.0.1:{port}"
        async with serve_sockets(
            self._socket, "127.0.0.1", 0, subprotocols=[wire.SUBPROTOCOL],  # type: ignore[list-item]
            compression=None, max_size=1 << 20, ping_interval=None,
        ) as sockets:  # fmt: skip
            if self.mode == "socket":
                port = next(iter(sockets.sockets)).getsockname()[1]
            self._gateway = f"ws://127.0.0.1:{port}/device/v1"
            try:
                yield
            finally:
                self.settle()
                server.close()

    async def _socket(self, socket: ServerConnection) -> None:
        self._peers.put_nowait(Peer(socket))
        await socket.wait_closed()

    async def _over_http(self, request: Request) -> None:
        if request.path == "/api/v1/devices/enrol":
            await self._enrol(request)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests.put_nowait((request, done))
        await done

    async def _enrol(self, request: Request) -> None:
        body = json.loads(await request.body())
        if body.get("token") != TOKEN:
            await request.problem(403, "token_unknown")
            return
        self._key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(body["public_key"]))
        answer = {
            "device": DEVICE, "pool": "conformance", "pool_tenants": ["acme"],
            "gateway": self._gateway, "data": f"{self.url}/data/v1",
            "attributes_schema": [{"name": "memory_mb", "type": "number"}],
        }  # fmt: skip
        headers = {"content-type": "application/json"}
        await request.answer(201, json.dumps(answer).encode(), headers)
