"""A device's real agent at the real gateway, over a line that loses each message once in turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve

from aggregation.models import Update
from jobs.models import Assignment, Job, Round
from propius import wire
from propius.agent import identity
from propius.agent.agent import Agent, AgentOptions
from propius.agent.history import History
from propius.agent.identity import Enrolment, Home
from propius.agent.pool_trainer import PoolTrainer
from propius.training.pool import TrainerPool
from tests.integration.gateway.test_real_socket import served
from tests.integration.gateway.world import rows

SIDE = 300  # 352 KiB: chunks of which one can be lost in the middle, each way
LONG_S = 600
HANDLERS = """
from propius.training.result import Result

def add_one(parameters, config, data):
    return Result({"weight": parameters["weight"] + 1}, examples=2, metrics={"loss": 0.5})
"""
UNCOUNTED = {"idle", "progress", "ping", "pong"}
"""Come when time has passed, or not at all: no part of an assignment's course."""
BOUNDARIES = {
    "down": {"challenge", "welcome", "assignment", "chunk", "upload_ready", "accepted"},
    "up": {"hello", "check_in", "accept", "download", "upload", "chunk"},
}


class Relay:
    """Passes frames on; in place of the n-th of one way, once, it breaks the line."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._way = ""
        self._left = 0
        self.lost = ""

    def lose(self, way: str, number: int) -> None:
        self._way, self._left, self.lost = way, number, ""

    async def serve(self, device: ServerConnection) -> None:
        async with websockets.connect(
            self._gateway,
            subprotocols=[websockets.Subprotocol(wire.SUBPROTOCOL)],
            compression=None,
            max_size=None,
        ) as gateway:
            ways = [
                asyncio.create_task(self._pass("up", device, gateway)),
                asyncio.create_task(self._pass("down", gateway, device)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            device.transport.abort()
            gateway.transport.abort()
            await asyncio.gather(*ways)

    async def _pass(self, way: str, source: Any, sink: Any) -> None:
        with suppress(websockets.ConnectionClosed):
            async for frame in source:
                name = "chunk" if isinstance(frame, bytes) else json.loads(frame)["type"]
                if way == self._way and self._left and name not in UNCOUNTED:
                    self._left -= 1
                    if not self._left:
                        self.lost = name
                        return
                if name == "accepted":
                    self._left = 0  # What follows belongs to the next assignment.
                await sink.send(frame)


@asynccontextmanager
async def relayed(gateway: str) -> AsyncIterator[tuple[Relay, str]]:
    relay = Relay(gateway)
    protocol = websockets.Subprotocol(wire.SUBPROTOCOL)
    async with serve(
        relay.serve, "127.0.0.1", 0, subprotocols=[protocol], compression=None, max_size=None
    ) as server:
        yield relay, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/device/v1"


def settle(home: Home, device: str, gateway: str, pool: str, tenant: str) -> None:
    """Write a device's folder, as the enrolment and its owner would."""
    home.prepare()
    identity.save_enrolment(
        home, Enrolment(device=device, gateway=gateway, pool=pool, pool_tenants=[tenant])
    )
    x, y = np.zeros((2, 1), np.float32), np.zeros(2, np.int64)
    np.savez(home / "digits.npz", x_train=x, y_train=y, x_val=x, y_val=y)
    (home / "datasets.toml").write_text('[digits]\npath = "digits.npz"\n')
    (home / "handlers.toml").write_text('[train]\ntrain = "added:add_one"\n')
    (home / "added.py").write_text(HANDLERS)


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


class Runs:
    """One device, and an assignment after the other for it."""

    def __init__(self, world: Any, home: Home, relay: Relay, trainer: PoolTrainer) -> None:
        self._world = world
        self._home = home
        self._relay = relay
        self._trainer = trainer
        self.jobs: list[Job] = []

    async def one(self, way: str, number: int) -> str:
        """Serve one assignment with the given message lost; return which it was, if any."""
        self._relay.lose(way, number)
        options = AgentOptions(
            attributes={"cpu_score": 3.0}, programs=False, backoff_base_s=0.02, backoff_cap_s=0.05
        )
        agent = Agent(home=self._home.path, trainer=self._trainer, options=options)
        # Of another size each time, or the device would have the parameters already.
        side = SIDE + len(self.jobs)
        rounds = {"selection_s": LONG_S, "deadline_s": LONG_S}
        changes = {f"rounds__{name}": value for name, value in rounds.items()}
        self.jobs.append(await rows(lambda: self._world.job(side=side, **changes)))
        running = asyncio.create_task(agent.run())
        history = History(self._home / "history.sqlite")
        outcomes = ["accepted"] * len(self.jobs)
        await until(lambda: running.done() or [e.outcome for e in history.entries()] == outcomes)
        await agent.stop()
        await asyncio.wait_for(running, 60)
        assert agent.session.bench.work is None
        return self._relay.lost


@pytest.fixture
async def runs(world, tmp_path):  # type: ignore[no-untyped-def]
    device = await rows(world.device)
    home = Home(tmp_path)
    async with (
        served(world.application) as gateway,
        relayed(gateway) as (relay, near),
        TrainerPool(1, memory_mb=512, import_paths=[str(tmp_path)]) as pool,
    ):
        settle(home, device.id, near, world.pool.name, world.tenant.slug)
        identity.write_private(home / "device.key", device.key.private_bytes_raw().hex().encode())
        yield Runs(world, home, relay, PoolTrainer(pool))


async def test_a_round_has_one_report_of_a_device_wherever_its_network_is_cut(runs, tmp_path):
    lost: dict[str, list[str]] = {}
    for way in BOUNDARIES:
        lost[way] = []
        while name := await runs.one(way, len(lost[way]) + 1):
            lost[way].append(name)
    assert {way: BOUNDARIES[way] - set(names) for way, names in lost.items()} == {
        "down": set(), "up": set()
    }  # fmt: skip
    # One of them in the middle of the transfer.
    assert all(names.count("chunk") >= 2 for names in lost.values())

    def counted() -> tuple[list[tuple[int, int, int]], list[str], int]:
        found = Round.objects.filter(job__in=runs.jobs)
        return (
            list(found.values_list("assigned", "reported", "lost")),
            list(Assignment.objects.values_list("status", flat=True)),
            Update.objects.count(),
        )

    assert await rows(counted) == (
        [(1, 1, 0)] * len(runs.jobs),
        [Assignment.Status.REPORTED] * len(runs.jobs),
        len(runs.jobs),
    )
    assert not list(Path(tmp_path, "spool").iterdir())
