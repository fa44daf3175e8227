"""Hostile frames at the real gateway, before and after the hello and in the middle of transfers.

An hour of new frames, and how many they were:
``FUZZ_MINUTES=60 make test ARGS="tests/integration/gateway/test_fuzzing.py -s"``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import numpy
import psutil
import pytest
import websockets
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core import knobs
from gateway.consumer import Connection
from gateway.downloads import Download
from gateway.uploads import Upload
from propius import wire
from propius_site.serve import MAX_WEBSOCKET_MESSAGE
from tests.integration.gateway import test_real_socket as real
from tests.integration.gateway.hostile import DOWNLOAD, FRAMES, UPLOAD, close_code
from tests.integration.gateway.rawline import BINARY, CLOSE, TEXT, Frame, RawLine
from tests.integration.gateway.sockets import FakeDevice
from tests.integration.gateway.world import digest_of, rows, square

MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
LONG = MINUTES > 0
LIMITS = settings(
    max_examples=80,
    derandomize=not LONG,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink) if LONG else (Phase.generate,),
)
SIDE = 300  # 352 KiB: of two chunks, so that a transfer has a middle
UPDATE = square(numpy.ones, SIDE)
BEGUN = 65_536
ENDINGS = st.sampled_from(["close", "eof", "abort"])
STAGES = ("stranger", "known", "waiting", "assigned", "working", "downloading", "uploading")
OURS_TO_ANSWER = {"internal_error", "storage_failed", "blob_missing", "unavailable"}
"""Codes by which the platform says that it is itself at fault."""


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setenv("PROPIUS_START_LEASE_S", "600")
    monkeypatch.setenv("PROPIUS_LEASE_S", "600")
    knobs.get.cache_clear()
    yield
    knobs.get.cache_clear()


class Faults(logging.Handler):
    """Keeps what was logged of faults."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(logging.Formatter().format(record))


@contextmanager
def no_faults() -> Iterator[Faults]:
    """See that no fault of the gateway's own is logged."""
    faults = Faults()
    logging.getLogger().addHandler(faults)
    try:
        yield faults
    finally:
        logging.getLogger().removeHandler(faults)
    assert faults.told == []


@asynccontextmanager
async def served_as_in_production(application: Any) -> AsyncIterator[int]:
    """Serve the gateway; yield its port."""
    async with real.served(
        application, ws="gateway.sockets:DeviceSocket", ws_max_size=MAX_WEBSOCKET_MESSAGE,
        http="propius_site.patience:PatientProtocol", ws_per_message_deflate=False,
    ) as url:  # fmt: skip
        yield int(url.split(":")[2].split("/")[0])


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.002)


class Arena:
    """The gateway behind its server, the devices that fight it, and one that does not."""

    def __init__(self, world: Any, hub: Any, port: int, honest: FakeDevice, faults: Faults) -> None:
        self._world = world
        self._hub = hub
        self._honest = honest
        self._faults = faults
        self._port = port

    async def fight(self, stage: str, frames: list[Frame], together: bool, ending: str) -> None:
        """Bring a new device to the stage, let it send the frames and end; all must be well."""
        device = await rows(self._world.device)
        line = await RawLine.open(self._port)
        known = await self._reach(stage, line, device)
        sent = [_known(one, known).encoded() for one in frames]
        for data in [b"".join(sent)] if together else sent:
            await line.write(data)
        for opcode, payload in await line.end(ending):
            _is_no_fault_of_ours(opcode, payload)
        await until(lambda: not self._hub.sockets and not self._hub.strangers)
        await self._serves_others()
        assert self._faults.told == []

    async def _reach(self, stage: str, line: RawLine, device: FakeDevice) -> dict[str, str]:
        """Go as far as ``stage`` says; return what a device knows there."""
        at = STAGES.index(stage)
        hello = device.hello(await _heard(line, wire.Challenge))
        known = {"device": device.id, "signature": hello.signature, "update": digest_of(UPDATE)}
        if at >= STAGES.index("known"):
            await line.say(hello)
            await _heard(line, wire.Welcome)
        if at >= STAGES.index("waiting"):
            await line.say(wire.CheckIn())
        if at < STAGES.index("assigned"):
            return known
        held = await _heard(line, wire.Assignment)
        known |= {"assignment": held.id, "digest": held.parameters.digest}
        if at >= STAGES.index("working"):
            await line.say(wire.Accept(assignment=held.id))
        if stage == "downloading":
            order = wire.Download(
                assignment=held.id, transfer=DOWNLOAD, digest=held.parameters.digest, credit=BEGUN
            )
            await line.say(order)
            assert isinstance(await line.hear(), bytes)
        if stage == "uploading":
            announced = wire.Upload(
                assignment=held.id, transfer=UPLOAD, digest=digest_of(UPDATE),
                size_bytes=len(UPDATE), weight=1,
            )  # fmt: skip
            await line.say(announced)
            await _heard(line, wire.UploadReady)
            await line.write(_chunk(UPDATE[:BEGUN]))
        return known

    async def _serves_others(self) -> None:
        line = await RawLine.open(self._port)
        await line.say(self._honest.hello(await _heard(line, wire.Challenge)))
        await _heard(line, wire.Welcome)
        await line.say(wire.Ping())
        await _heard(line, wire.Pong)
        await line.say(wire.Leave())
        await line.end("close")
        await until(lambda: not self._hub.sockets)


def _chunk(payload: bytes) -> bytes:
    return Frame(BINARY, wire.pack_chunk(UPLOAD, 0, payload)).encoded()


def _known(frame: Frame, known: dict[str, str]) -> Frame:
    payload = frame.payload
    for name, value in known.items():
        payload = payload.replace(b"$" + name.encode(), value.encode())
    return replace(frame, payload=payload)


async def _heard(line: RawLine, kind: type[Any]) -> Any:
    while isinstance(got := await line.hear(), wire.Idle) and kind is not wire.Idle:
        pass
    assert isinstance(got, kind), got
    return got


def _is_no_fault_of_ours(opcode: int, payload: bytes) -> None:
    if opcode == CLOSE:
        assert close_code(payload) != 1011
    elif opcode == TEXT:
        said = wire.decode_from_gateway(payload)
        assert getattr(said, "code", "") not in OURS_TO_ANSWER, said


def connections() -> list[object]:
    """Return the connections and transfers in memory; tests before may have left some."""
    gc.collect()
    kinds = (Connection, Upload, Download)
    # By type: isinstance asks an object for its class, and some of torch's warn when asked.
    return [one for one in gc.get_objects() if issubclass(type(one), kinds)]


def newer(earlier: list[object]) -> bool:
    """Tell whether there are any that were not there ``earlier``."""
    known = {id(one) for one in earlier}  # held by the list, so that no other has its id
    return any(id(one) not in known for one in connections())


def _descriptors(port: int) -> tuple[int, int]:
    """Return how many files of the platform are open, and how many connections of devices."""
    me = psutil.Process()
    files = [one for one in me.open_files() if "/spool/" in one.path or "/blobs/" in one.path]
    return len(files), sum(
        port in (c.laddr.port, c.raddr and c.raddr.port)
        for c in me.net_connections("tcp")
        if c.status != "LISTEN"
    )


@asynccontextmanager
async def no_leak(hub: Any, port: int) -> AsyncIterator[None]:
    """See that tasks, and files, sockets, transfers and sessions of devices are gone afterwards."""
    tasks, earlier = asyncio.all_tasks(), connections()
    yield
    await until(lambda: asyncio.all_tasks() <= tasks)
    assert (hub.sockets, len(hub.strangers), hub.connections()) == (0, 0, [])
    assert (hub.transfers.take()[0], hub.hellos.under_way) == ({}, 0)
    await until(lambda: not newer(earlier))
    await until(lambda: _descriptors(port) == (0, 0))


# The gateway draws its own random numbers on another thread while frames are made.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.timeout(0 if LONG else 300)
async def test_hostile_frames_harm_nobody_else_and_leave_nothing_behind(gateway, world):
    rounds = {"demand": 100_000, "selection_s": 3600, "deadline_s": 3600}
    changes = {f"rounds__{name}": value for name, value in rounds.items()}
    await rows(lambda: world.job(side=SIDE, **changes))
    honest, loop = await rows(world.device), asyncio.get_running_loop()
    with no_faults() as faults:
        async with served_as_in_production(world.application) as port:
            arena = Arena(world, gateway.hub, port, honest, faults)
            for stage in STAGES:  # what is made once is no leak
                await arena.fight(stage, [], True, "close")

            @LIMITS
            @given(st.sampled_from(STAGES), FRAMES, st.booleans(), ENDINGS)
            def fight(stage: str, frames: list[Frame], together: bool, ending: str) -> None:
                fought = arena.fight(stage, frames, together, ending)
                asyncio.run_coroutine_threadsafe(fought, loop).result()

            ends, batches = time.monotonic() + 60 * MINUTES, 0
            async with no_leak(gateway.hub, port):
                while not batches or time.monotonic() < ends:
                    await asyncio.to_thread(fight)
                    batches += 1
            await a_whole_round(port, await rows(world.device))
    print(f"{batches * LIMITS.max_examples} examples, {len(STAGES)} stages: no fault")


async def a_whole_round(port: int, device: FakeDevice) -> None:
    """An honest device downloads, and its update counts."""
    protocol = websockets.Subprotocol(wire.SUBPROTOCOL)
    url = f"ws://127.0.0.1:{port}/device/v1"
    async with websockets.connect(url, subprotocols=[protocol], compression=None) as socket:
        await socket.send(wire.encode(device.hello(await real.control(socket))))
        assert isinstance(await real.control(socket), wire.Welcome)
        await socket.send(wire.encode(wire.CheckIn()))
        while isinstance(held := await real.control(socket), wire.Idle):
            pass
        await socket.send(wire.encode(wire.Accept(assignment=held.id)))
        assert await real.download(socket, held) == square(numpy.zeros, SIDE)
        assert await real.upload(socket, held, UPDATE) == wire.Accepted(assignment=held.id)
