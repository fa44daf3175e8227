"""The made-up phones and days look like real ones, and are the same for the same seed."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
import random
from array import array
from pathlib import Path
from statistics import correlation, median
from typing import Any

import numpy as np
import pytest

from propius import arrays, wire
from propius.agent.events import Note
from propius.agent.pool_trainer import PoolTrainer
from propius.agent.workloads import Handler, Workloads
from propius.fleet import population, record
from propius.fleet.availability import DAY_S, always, cycle, diurnal
from propius.fleet.clock import Clock
from propius.fleet.compute import Idle, Real
from propius.fleet.enrolling import key_of
from propius.fleet.population import Phone
from propius.fleet.shelf import Shelf
from propius.fleet.virtual import VirtualDevice, World
from propius.training.pool import TrainerPool
from tests.unit.sdk.agent.scripted import Peer, ScriptedGateway, assignment, gateway
from tests.unit.sdk.agent.test_network import ME

PHONES = [population.draw(random.Random(f"phone {number}")) for number in range(3000)]


def test_speeds_and_memories_are_spread_as_in_the_ranking():
    assert median(one.cpu_score for one in PHONES) == pytest.approx(6.1, rel=0.1)
    assert median(one.speed_ms for one in PHONES) == pytest.approx(63, rel=0.12)
    assert median(one.memory_mb for one in PHONES) == 6144
    slow = sum(one.speed_ms > 190 for one in PHONES) / len(PHONES)
    assert slow == pytest.approx(0.05, abs=0.015)


def test_a_fast_phone_has_more_of_everything():
    ranks = {
        name: _ranks([float(getattr(one, name)) for one in PHONES])
        for name in ("cpu_score", "memory_mb", "speed_ms", "android")
    }
    assert correlation(ranks["cpu_score"], ranks["speed_ms"]) < -0.8
    assert correlation(ranks["cpu_score"], ranks["memory_mb"]) > 0.8
    assert correlation(ranks["cpu_score"], ranks["android"]) > 0.6


def _ranks(values: list[float]) -> list[int]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0] * len(values)
    for rank, at in enumerate(order):
        ranks[at] = rank
    return ranks


def test_the_fleet_breathes_by_day():
    sessions = [
        list(itertools.takewhile(lambda one: one[0] < DAY_S, diurnal(random.Random(number))))
        for number in range(2000)
    ]

    def online(at: float) -> float:
        there = sum(any(begins <= at < ends for begins, ends in own) for own in sessions)
        return there / len(sessions)

    shares = [online(hour * 3600.0) for hour in range(24)]
    assert 0.55 < sum(shares) / 24 < 0.85
    assert max(shares) - min(shares) > 0.1
    assert shares[21] > shares[9]


def test_sessions_follow_one_another():
    found = list(itertools.islice(diurnal(random.Random(3)), 50))
    assert found[0][0] >= 0
    for before, after in itertools.pairwise(found):
        assert before[0] < before[1] < after[0]
    (first, ends), (second, _) = itertools.islice(cycle(50, 10)(random.Random(1)), 2)
    assert ends - first == 50
    assert second - ends == pytest.approx(10)


def test_keys_follow_from_the_seed():
    def public(seed: int, number: int) -> bytes:
        return key_of(seed, number).public_key().public_bytes_raw()

    assert public(1, 2) == public(1, 2)
    assert len({public(1, 2), public(2, 1), public(1, 12), public(11, 2)}) == 4


def test_the_record_tells_ends_apart():
    found = record.Record(1)
    for event, code in (
        ("assignment.taken", ""), ("assignment.cancelled", "lease_expired"),
        ("assignment.cancelled", "round_closed"), ("assignment.lost", ""),
        ("offer.refused", "private_constraint"), ("assignment.late", "round_closed"),
    ):  # fmt: skip
        found.noted(Note(event, {"code": code} if code else {}))
    report = found.report({})
    assert report["counts"]["binds"] == 1
    assert report["expired"] == 2
    assert report["declined"] == {"private_constraint": 1}
    assert report["refused"] == {"round_closed": 1}


def test_percentiles_are_of_what_was_seen():
    assert record.percentiles(array("d")) == {"count": 0}
    found = record.percentiles(array("d", [float(one) for one in range(1, 101)]))
    assert (found["p50"], found["p99"], found["mean"]) == (51.0, 100.0, 50.5)


COUNTING = """
import numpy as np
from propius import Result

def count(parameters, config, data):
    return Result({"all": np.asarray(float(len(data["y"])))}, examples=1, metrics={})
"""


async def test_a_query_runs_for_real_on_a_phones_own_examples(tmp_path):
    (tmp_path / "counting.py").write_text(COUNTING)
    rows = np.zeros(5000, np.float32)
    np.savez(tmp_path / "data.npz", x_train=rows, y_train=rows, x_val=rows, y_val=rows)
    shelf, form = Shelf(tmp_path), arrays.save({"all": np.asarray(0.0)})
    query = {"kind": "query", "handler": "ages", "dataset": "people"}
    asked = assignment(parameters=form, workload=query)
    shelf.put(asked.parameters.digest, form)
    workloads = Workloads({"ages": Handler(query="counting:count")}, programs=False)
    async with TrainerPool(1, 512, import_paths=[str(tmp_path)]) as pool:
        real = Real(PoolTrainer(pool), shelf, workloads, data=tmp_path / "data.npz", seed=0)
        done = await real.run("phone", PHONES[0], asked)
    assert arrays.load(done.update)["all"] == min(5000, PHONES[0].examples)


class TellingClock(Clock):
    """Takes no time, and tells in simulated seconds what it would have taken."""

    def __init__(self) -> None:
        super().__init__(1.0, start_s=0.0)
        self.slept: list[float] = []
        self.taken: list[float] = []

    def real(self, simulated_s: float) -> float:
        self.taken.append(simulated_s)
        return 0.0

    async def sleep(self, simulated_s: float) -> None:
        if math.isinf(simulated_s):
            await super().sleep(simulated_s)
        elif simulated_s > 0:
            self.slept.append(simulated_s)


def world_of(url: str, folder: Path, *, passes: float = 0.0, dropout: float = 0.0) -> World:
    shelf, clock = Shelf(folder), TellingClock()
    return World(
        gateway=url, clock=clock, compute=Idle(shelf, clock, passes=passes),
        record=record.Record(1), shelf=shelf, trace=always, dropout=dropout,
    )  # fmt: skip


async def live(one: ScriptedGateway, world: World, phone: Phone) -> None:
    """Let one device live until the gateway's scripts have ended."""
    living = asyncio.create_task(VirtualDevice(0, phone, ME, world, random.Random(0)).live())
    async with asyncio.timeout(60):
        await one.finished()
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)


async def given(peer: Peer, model: bytes, **more: Any) -> None:
    await peer.greet()
    await peer.expect(wire.CheckIn)
    await peer.send(assignment(parameters=model, **more))
    await peer.expect(wire.Accept)
    await peer.serve_blob(model)


async def test_a_virtual_device_sends_its_update_to_the_gateway_where_there_is_a_leaf(tmp_path):
    model = arrays.save({"weight": np.ones(3, np.float32)})

    async def script(peer: Peer) -> None:
        await given(peer, model, leaf="http://127.0.0.1:9/data/v1")
        assert await peer.take_upload() == model
        await peer.send(wire.Accepted(assignment="a1"))

    async with gateway(script) as one:
        await live(one, world_of(one.url, tmp_path), PHONES[0])


async def test_training_and_links_take_as_long_as_the_phone_is_slow(tmp_path):
    model = arrays.save({"weight": np.ones(300_000, np.float32)})
    phone = dataclasses.replace(
        PHONES[0], examples=40, speed_ms=25.0, down_kbps=8_000, up_kbps=1_600
    )

    async def script(peer: Peer) -> None:
        await given(peer, model)
        assert await peer.take_upload() == model
        await peer.send(wire.Accepted(assignment="a1"))
        await peer.expect(wire.CheckIn)

    async with gateway(script) as one:
        world = world_of(one.url, tmp_path, passes=3.0)
        await live(one, world, phone)
    clock = world.clock
    assert isinstance(clock, TellingClock)
    trained, *sent = clock.slept
    assert trained == pytest.approx(3 * 40 * 0.025)
    # 1 kB takes a millisecond one way, and five the other; the frames' heads are some bytes more.
    assert sum(clock.taken) == pytest.approx(len(model) / 1e6)
    assert len(sent) > 1
    assert sum(sent) == pytest.approx(5 * len(model) / 1e6, rel=0.001)
    assert world.record.counts["accepted"] == 1


async def test_a_device_that_drops_out_vanishes_in_its_work_and_comes_back_with_nothing(tmp_path):
    model = arrays.save({"weight": np.ones(3, np.float32)})

    async def left(peer: Peer) -> None:
        await given(peer, model)
        await asyncio.wait_for(peer.socket.wait_closed(), 5)
        assert peer.socket.close_code == 1006  # no word of leaving

    async def back(peer: Peer) -> None:
        await peer.greet(resume=None)
        await peer.expect(wire.CheckIn)

    async with gateway(left, back) as one:
        world = world_of(one.url, tmp_path, passes=2.0, dropout=1.0)
        await live(one, world, PHONES[0])
    clock = world.clock
    assert isinstance(clock, TellingClock)
    [worked] = clock.slept
    assert 0 < worked < PHONES[0].examples * PHONES[0].speed_ms / 1000
    assert len(clock.taken) == 2  # the download, and how long it stayed away
    seen = world.record.counts
    assert (seen["vanished"], seen["sign_ins"], seen["accepted"]) == (1, 2, 0)
    assert world.record.working == 0
