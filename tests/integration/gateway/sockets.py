"""A device's end of the gateway's ASGI application, without a network."""

from __future__ import annotations

import asyncio
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from propius import wire

WAIT_S = 20.0


class Closed(Exception):
    """The gateway closed; ``code`` is the websocket's close code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Socket:
    """One websocket: what the server would do between the wire and the application."""

    def __init__(
        self,
        application: Any,
        *,
        subprotocols: tuple[str, ...] = (wire.SUBPROTOCOL,),
        address: str = "192.0.2.1",
    ):
        self._to: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._to.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket", "path": "/device/v1", "subprotocols": list(subprotocols),
            "client": (address, 50_000),
        }  # fmt: skip
        self._task = asyncio.create_task(application(scope, self._to.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        await self._from.put(message)
        if message["type"] == "websocket.close":
            self._to.put_nowait({"type": "websocket.disconnect", "code": message.get("code", 1000)})

    async def frame(self) -> dict[str, Any]:
        return await asyncio.wait_for(self._from.get(), WAIT_S)

    async def receive(self) -> Any:
        """Return the next control message, or the bytes of a chunk frame."""
        frame = await self.frame()
        if frame["type"] == "websocket.accept":
            frame = await self.frame()
        if frame["type"] == "websocket.close":
            raise Closed(frame["code"])
        if frame.get("text") is not None:
            return wire.decode_from_gateway(frame["text"])
        return frame["bytes"]

    async def expect(self, kind: type[Any]) -> Any:
        got = await self.receive()
        assert isinstance(got, kind), got
        return got

    async def closed(self) -> int:
        try:
            got = await self.receive()
        except Closed as error:
            return error.code
        raise AssertionError(f"not closed, but {got}")

    def silent(self) -> bool:
        return self._from.empty()

    def send(self, message: wire.Message) -> None:
        self.text(wire.encode(message))

    def text(self, frame: str) -> None:
        self._to.put_nowait({"type": "websocket.receive", "text": frame})

    def bytes(self, frame: bytes) -> None:
        self._to.put_nowait({"type": "websocket.receive", "bytes": frame})

    async def drop(self) -> None:
        """Break the connection."""
        self._to.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await asyncio.wait_for(self._task, WAIT_S)


class FakeDevice:
    """A key, a row's id, and what the device tells of itself."""

    def __init__(self, application: Any, key: Ed25519PrivateKey, identifier: str) -> None:
        self.application = application
        self.key = key
        self.id = identifier
        self.workloads = {"handler": ["train"]}

    def hello(self, challenge: wire.Challenge, **changes: Any) -> wire.Hello:
        fields = {
            "protocol": 1,
            "device": self.id,
            "signature": self.key.sign(wire.proof(challenge.nonce, self.id)).hex(),
            "sdk": "test 1",
            "attributes": {"cpu_score": 3},
            "workloads": self.workloads,
        }
        return wire.Hello(**(fields | changes))

    async def connect(self) -> tuple[Socket, wire.Welcome]:
        """Sign in."""
        socket = Socket(self.application)
        socket.send(self.hello(await socket.expect(wire.Challenge)))
        return socket, await socket.expect(wire.Welcome)

    async def assigned(self) -> tuple[Socket, wire.Assignment]:
        """Sign in, check in, and be given an assignment."""
        socket, _ = await self.connect()
        socket.send(wire.CheckIn())
        while isinstance(got := await socket.receive(), wire.Idle):
            pass
        assert isinstance(got, wire.Assignment), got
        return socket, got

    async def working(self) -> tuple[Socket, wire.Assignment]:
        """As :meth:`assigned`, and accept."""
        socket, assignment = await self.assigned()
        socket.send(wire.Accept(assignment=assignment.id))
        return socket, assignment
