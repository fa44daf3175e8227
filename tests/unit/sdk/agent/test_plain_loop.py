"""A script's plain loop and its owner's switches: nothing is handed out, and long work waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from propius import plain, wire
from propius.agent import control, watch
from propius.agent.agent import AgentOptions
from propius.agent.identity import Home
from propius.plain import Loop
from tests.unit.sdk.agent.scripted import (
    Peer,
    ScriptedGateway,
    assignment,
    device_home,
    gateway,
    point_to,
)
from tests.unit.sdk.agent.test_owner import Battery

MODEL = save({"weight": np.zeros(3, np.float32)})
ONES = {"weight": np.ones(3, np.float32)}
CSV = '[digits]\npath = "digits.csv"\ntarget = "y"\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = device_home(tmp_path / "device")
    (home / "digits.csv").write_text("x,y\n1,0\n2,1\n3,0\n")
    (home / "datasets.toml").write_text(CSV)
    return home


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "EVERY_S", 0.02)
    monkeypatch.setattr(plain, "POLL_S", 0.02)


@contextlib.asynccontextmanager
async def looping(home: Path, one: ScriptedGateway, meter: Battery) -> AsyncIterator[Loop]:
    point_to(home, one.url)
    options = AgentOptions(backoff_base_s=0.02, backoff_cap_s=0.05, meter=meter)
    loop = Loop(home, handler="logistic", options=options)
    # Ready before the first assignment, which would be declined otherwise.
    ready = asyncio.run_coroutine_threadsafe(loop._agent.device.datasets.refresh(), loop._loop)
    await asyncio.wrap_future(ready)
    try:
        yield loop
    finally:
        await asyncio.to_thread(loop.close)


async def hand_out(peer: Peer, identifier: str) -> None:
    await peer.expect(wire.CheckIn)
    await peer.send(assignment(identifier, parameters=MODEL))
    await peer.expect(wire.Accept)
    if identifier == "a1":
        await peer.serve_blob(MODEL)


async def test_a_paused_script_gets_no_task_and_stands_still_between_batches(home: Path) -> None:
    control.pause(Home(home))
    begin, handed, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await begin.wait()
        await peer.greet()
        handed.set()
        await hand_out(peer, "a1")
        await done.wait()
        assert load(await peer.take_upload())["weight"].tolist() == [1, 1, 1]
        await peer.send(wire.Accepted(assignment="a1"))

    async with gateway(script) as one, looping(home, one, Battery()) as loop:
        begin.set()
        await handed.wait()
        assert await asyncio.to_thread(loop.receive, 0.1) is None
        assert not any(b"check_in" in frame for frame in one.heard)
        control.resume(Home(home))
        task = await asyncio.to_thread(loop.receive, 20)
        assert task is not None
        assert task.data["x"].shape == (2, 1)
        assert await asyncio.to_thread(loop.may_go_on)

        control.pause(Home(home))
        async with asyncio.timeout(20):
            while not loop._now[0].work.brake.pressed:
                await asyncio.sleep(0.01)
        asked = asyncio.create_task(asyncio.to_thread(loop.may_go_on))
        assert not (await asyncio.wait({asked}, timeout=0.1))[0]
        control.resume(Home(home))
        assert await asked
        done.set()
        assert await asyncio.to_thread(lambda: loop.send(ONES, examples=2))
        await one.finished()


async def test_a_task_that_stood_still_for_too_long_is_given_back(home: Path) -> None:
    (home / "conditions.toml").write_text("charging = true\ngrace_s = 0\n")
    meter = Battery()
    begin, first = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await begin.wait()
        await peer.greet()
        await hand_out(peer, "a1")
        assert (await peer.expect(wire.Fail)).code == "condition"
        first.set()
        await hand_out(peer, "a2")
        await peer.take_upload()
        await peer.send(wire.Accepted(assignment="a2"))

    async with gateway(script) as one, looping(home, one, meter) as loop:
        begin.set()
        assert await asyncio.to_thread(loop.receive, 20) is not None
        meter.charging = False
        await first.wait()
        assert not await asyncio.to_thread(loop.may_go_on)
        meter.charging = True
        again = await asyncio.to_thread(loop.receive, 20)
        assert again is not None
        assert await asyncio.to_thread(lambda: loop.send(ONES, examples=2))
        await one.finished()


async def test_without_a_task_there_is_nothing_to_go_on_with(home: Path) -> None:
    async with gateway() as one, looping(home, one, Battery()) as loop:
        with pytest.raises(plain.LoopError, match=r"receive\(\) first"):
            loop.may_go_on()
