"""Parts that the agent's tests share: messages, a device folder, and a scripted gateway."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from websockets.asyncio.server import ServerConnection, serve

from propius import wire
from propius.agent import identity
from propius.agent.trainer import LocalOutcome, LocalWork

NONCE = "ab" * 32
BETWEEN = wire.Ping | wire.Progress | wire.Credit
PROGRAM = hashlib.sha256(b"program").hexdigest()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def blob(content: bytes) -> wire.Blob:
    return wire.Blob(digest=digest(content), size_bytes=len(content))


def assignment(identifier: str = "a1", parameters: bytes = b"model", **changes: Any):
    fields: dict[str, Any] = {
        "id": identifier,
        "job": "j1",
        "job_name": "digits",
        "tenant": "acme",
        "round": "r1",
        "number": 1,
        "attempt": 1,
        "kind": "train",
        "workload": {"kind": "handler", "handler": "logistic", "dataset": "digits"},
        "constraints": {},
        "parameters": blob(parameters),
        "program": None,
        "codec": "fp32",
        "max_update_bytes": 1 << 24,
        "seed": 7,
        "start_s": 10.0,
        "lease_s": 30.0,
        "deadline_s": 600.0,
        "ticket": "t",
    }
    return wire.Assignment(**{**fields, **changes})


def candidate(round_: str = "r1", **changes: Any) -> wire.Candidate:
    fields: dict[str, Any] = {
        "round": round_,
        "job": f"job-{round_}",
        "tenant": "acme",
        "kind": "train",
        "workload": {"kind": "handler", "handler": "logistic", "dataset": "digits"},
        "constraints": {},
    }
    return wire.Candidate(**{**fields, **changes})


def device_home(path: Path, gateway: str = "ws://127.0.0.1:1/device/v1") -> Path:
    """Make an enrolled device with one data set, one handler and private labels."""
    home = identity.Home(path)
    identity.make_key(home)
    enrolment = identity.Enrolment(
        device="d1", gateway=gateway, pool="main", pool_tenants=["acme", "globex"]
    )
    identity.save_enrolment(home, enrolment)
    (path / "attributes.toml").write_text('cpu_score = 2.5\nos = "linux"\n')
    (path / "handlers.toml").write_text('[logistic]\ntrain = "m:train"\nevaluate = "m:evaluate"\n')
    (path / "datasets.toml").write_text(
        '[digits]\npath = "digits.npz"\nlabels = { ward = "oncology-west-7" }\n'
    )
    np.savez(
        path / "digits.npz",
        x_train=np.full((137, 3), 8675.309),
        y_train=np.arange(137) % 6,
        x_val=np.zeros((41, 3)),
        y_val=np.zeros(41, np.int64),
    )
    return path


class EchoTrainer:
    """Writes a fixed update; ``hold`` keeps it at work until set."""

    def __init__(self, update: bytes = b"u" * 1000, weight: float = 1.0) -> None:
        self.update = update
        self.weight = weight
        self.hold: asyncio.Event | None = None
        self.started: list[LocalWork] = []
        self.cancelled = 0
        self.error: Exception | None = None

    async def run(
        self, work: LocalWork, *, timeout_s: float, progress: Callable[[float], None]
    ) -> LocalOutcome:
        self.started.append(work)
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        if work.assignment.kind == "train":
            work.output.write_bytes(self.update)
        return LocalOutcome(self.weight, {"loss": 0.5}, 0.01)


class Peer:
    """The gateway's end of one connection, with what a script needs."""

    def __init__(self, socket: ServerConnection, heard: list[bytes]) -> None:
        self.socket = socket
        self.heard = heard

    async def send(self, message: wire.Message) -> None:
        await self.socket.send(wire.encode(message))

    async def frame(self) -> str | bytes:
        frame = await asyncio.wait_for(self.socket.recv(), 5)
        self.heard.append(frame.encode() if isinstance(frame, str) else frame)
        return frame

    async def expect(self, kind: type[Any]) -> Any:
        """Return the next message of this kind; what may come at any time is let by."""
        while True:
            frame = await self.frame()
            assert isinstance(frame, str), f"a chunk where {kind.__name__} was expected"
            message = wire.decode_from_device(frame)
            if isinstance(message, kind):
                return message
            assert isinstance(message, BETWEEN), message

    async def chunk(self) -> tuple[int, int, bytes]:
        while isinstance(frame := await self.frame(), str):
            message = wire.decode_from_device(frame)
            assert isinstance(message, BETWEEN), message
        transfer, offset, payload = wire.unpack_chunk(frame)
        return transfer, offset, bytes(payload)

    async def greet(self, resume: wire.Assignment | None = None, ping_s: float = 30.0) -> None:
        await self.send(wire.Challenge(nonce=NONCE, protocols=[1]))
        hello = await self.expect(wire.Hello)
        assert hello.device == "d1"
        await self.send(wire.Welcome(session="s", server="test", ping_s=ping_s, resume=resume))

    async def serve_blob(self, content: bytes, *, chunk: int = 64 * 1024) -> wire.Download:
        """Answer a download to its end, within its credit."""
        asked = await self.expect(wire.Download)
        await self.answer(asked, content, chunk=chunk)
        return asked

    async def answer(self, asked: wire.Download, content: bytes, *, chunk: int = 64 * 1024) -> None:
        """Send what was asked for, within its credit."""
        offset, credit = asked.offset, asked.credit
        while offset < len(content):
            while credit <= 0:
                credit += (await self.expect(wire.Credit)).size_bytes
            payload = content[offset : offset + min(chunk, credit)]
            await self.socket.send(wire.pack_chunk(asked.transfer, offset, payload))
            offset += len(payload)
            credit -= len(payload)

    async def take_upload(self, *, offset: int = 0, credit: int = wire.WINDOW) -> bytes:
        """Take an announced upload to its end; return its bytes from ``offset`` on."""
        asked = await self.expect(wire.Upload)
        return await self.take(asked, offset=offset, credit=credit)

    async def take(
        self, asked: wire.Upload, *, offset: int = 0, credit: int = wire.WINDOW
    ) -> bytes:
        """Take the update that was announced; return its bytes from ``offset`` on."""
        await self.send(wire.UploadReady(transfer=asked.transfer, offset=offset, credit=credit))
        received = b""
        while offset + len(received) < asked.size_bytes:
            transfer, at, payload = await self.chunk()
            assert (transfer, at) == (asked.transfer, offset + len(received))
            received += payload
            await self.send(wire.Credit(transfer=transfer, size_bytes=len(payload)))
        return received


Script = Callable[[Peer], Awaitable[None]]


class ScriptedGateway:
    """Runs one script for each connection, in order; then keeps connections open and silent."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.heard: list[bytes] = []
        self.errors: list[BaseException] = []
        self.done = asyncio.Event()
        self.url = ""

    async def _connection(self, socket: ServerConnection) -> None:
        if not self.scripts:
            await socket.wait_closed()
            return
        script = self.scripts.pop(0)
        try:
            await script(Peer(socket, self.heard))
        except BaseException as error:
            self.errors.append(error)
            self.done.set()
            raise
        finally:
            if not self.scripts:
                self.done.set()

    async def finished(self) -> None:
        await asyncio.wait_for(self.done.wait(), 8)
        for error in self.errors:
            raise error


@contextlib.asynccontextmanager
async def gateway(*scripts: Script) -> AsyncIterator[ScriptedGateway]:
    one = ScriptedGateway(*scripts)
    async with serve(
        one._connection, "127.0.0.1", 0, subprotocols=["propius.v1"], compression=None
    ) as server:
        port = server.sockets[0].getsockname()[1]
        one.url = f"ws://127.0.0.1:{port}/device/v1"
        yield one


def point_to(home: Path, url: str) -> None:
    """Let an enrolled device look for its gateway at ``url``."""
    folder = identity.Home(home)
    enrolment = identity.load_enrolment(folder)
    identity.save_enrolment(folder, msgspec.structs.replace(enrolment, gateway=url))
