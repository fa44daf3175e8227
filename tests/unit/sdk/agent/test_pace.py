"""What a device learns of its own speed and makes of it, and the words that it declines in."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from propius import arrays, wire
from propius.adaptive import Speed
from propius.agent.agent import Agent, AgentOptions
from propius.agent.events import (
    ConditionsChanged,
    Disconnected,
    DownloadFinished,
    MessageReceived,
    Refusal,
    TransferProgress,
)
from propius.agent.pace import Pace
from propius.agent.pool_trainer import PoolTrainer
from propius.agent.trainer import LocalOutcome, LocalWork, TrainingError
from propius.program import container
from propius.training.pool import TrainerPool
from tests.unit.sdk.agent.scripted import (
    PROGRAM,
    EchoTrainer,
    Peer,
    assignment,
    blob,
    candidate,
    device_home,
    gateway,
    point_to,
)
from tests.unit.sdk.program.programs import linear, linear_data, linear_parameters

WORKLOAD: dict[str, Any] = {
    "kind": "program", "program": PROGRAM, "dataset": "digits",
    "train": {"batch_size": 2, "epochs": 50}, "adaptive": {"reserve": 0.0},
}  # fmt: skip
ACCEPTED = MessageReceived(wire.Accepted(assignment="a1"))


def asked(identifier: str = "a1", **changes: Any) -> wire.Assignment:
    program = blob(b"program")
    return assignment(identifier, **{"workload": WORKLOAD, "program": program, **changes})


def done(examples_per_s: float, seconds: float = 3.0) -> LocalOutcome:
    return LocalOutcome(1.0, {}, seconds, processed=int(examples_per_s * 2), train_s=2.0)


def test_speeds_are_learnt_by_workload_and_outlive_the_process(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    assert pace.speed(WORKLOAD) is None
    pace.trained(WORKLOAD, done(100), slowdown=1.0)
    pace.trained(WORKLOAD, done(200), slowdown=1.0)
    again = Pace(tmp_path / "pace.json")
    assert again.speed(WORKLOAD) == Speed(examples_per_s=150.0, overhead_s=1.0)
    assert again.speed({**WORKLOAD, "program": "f" * 64}) is None


def test_rates_are_learnt_between_two_points_of_a_transfer(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    pace.saw(TransferProgress(1, 100_000, 1_100_000), 10.0)
    pace.saw(TransferProgress(1, 600_000, 1_100_000), 11.0)
    pace.saw(DownloadFinished(1), 12.0)
    pace.saw(TransferProgress(2, 0, 300_000), 20.0)
    pace.saw(ACCEPTED, 23.0)
    assert (pace.down_bytes_per_s, pace.up_bytes_per_s) == (500_000.0, 100_000.0)
    # A small one, a broken one: they tell nothing.
    pace.saw(TransferProgress(3, 0, 1_000), 30.0)
    pace.saw(ACCEPTED, 31.0)
    pace.saw(TransferProgress(4, 0, 300_000), 40.0)
    pace.saw(Disconnected(), 41.0)
    pace.saw(ACCEPTED, 400.0)
    assert Pace(tmp_path / "pace.json").up_bytes_per_s == 100_000.0


def test_time_that_the_owners_conditions_took_is_no_slow_link(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    pace.saw(TransferProgress(1, 0, 1_000_000), 0.0)
    pace.saw(ConditionsChanged(Refusal("condition", "")), 1.0)
    pace.saw(ConditionsChanged(None), 9_000.0)
    pace.saw(TransferProgress(1, 500_000, 1_000_000), 9_000.0)
    pace.saw(DownloadFinished(1), 9_001.0)
    assert pace.down_bytes_per_s == 500_000.0


def test_a_cold_start_is_learnt_only_where_each_is_cold(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    pace.trained(WORKLOAD, replace(done(1.0, seconds=30.0), cold=True), slowdown=1.0)
    assert pace.speed(WORKLOAD) is None
    pace.always_cold = True
    pace.trained(WORKLOAD, replace(done(1.0, seconds=30.0), cold=True), slowdown=1.0)
    assert pace.speed(WORKLOAD) == Speed(examples_per_s=1.0, overhead_s=28.0)


def test_a_bad_day_is_forgotten_after_hours(tmp_path: Path) -> None:
    now = 1_000_000.0
    pace = Pace(tmp_path / "pace.json", clock=lambda: now)
    judge = pace.judging(lambda one: None)
    pace.trained(WORKLOAD, done(0.5), slowdown=4.0)
    pace.saw(TransferProgress(1, 0, 100_000), 0.0)
    pace.saw(DownloadFinished(1), 100_000.0)
    assert judge(asked(deadline_s=5.0)) is not None
    now += 7 * 3600
    assert judge(asked(deadline_s=5.0)) is None
    assert pace.down_bytes_per_s == 1.0, "still told, and smoothed no more"
    pace.saw(TransferProgress(2, 0, 100_000), 0.0)
    pace.saw(DownloadFinished(2), 1.0)
    assert pace.down_bytes_per_s == 100_000.0


async def test_work_that_stood_still_teaches_nothing(tmp_path: Path) -> None:
    class Counting(EchoTrainer):
        async def run(self, work: LocalWork, **options: Any) -> LocalOutcome:
            await super().run(work, **options)
            return done(100)

    trainer, ended = Counting(), asyncio.Event()
    trainer.hold = asyncio.Event()
    agent = Agent(home=device_home(tmp_path / "device"), trainer=trainer)
    agent._execution._emit = lambda event: ended.set()
    workload = assignment().workload
    for braked in (True, False):
        if braked:
            agent._execution.hold()
        agent._execution.start(assignment())
        agent._execution.go_on()
        trainer.hold.set()
        async with asyncio.timeout(60):
            await ended.wait()
        ended.clear()
        assert (agent._pace.speed(workload) is None) == braked
    await agent._execution.close()


def test_a_damaged_file_is_learnt_anew(tmp_path: Path) -> None:
    (tmp_path / "pace.json").write_text("{")
    assert Pace(tmp_path / "pace.json").speed(WORKLOAD) is None


def test_it_declines_in_numbers_what_not_one_step_can_make_but_never_an_offer_or_another_job(
    tmp_path: Path,
) -> None:
    pace = Pace(tmp_path / "pace.json")
    judge = pace.judging(lambda one: None)
    assert judge(asked(deadline_s=0.5)) is None, "nothing is known yet"
    pace.trained(WORKLOAD, done(1.0), slowdown=4.0)
    refusal = judge(asked(deadline_s=5.0))
    assert refusal is not None
    assert refusal.code == "too_slow"
    # One example in 4 s, and 4 s beside the steps.
    assert refusal.message.startswith("this device needs about 12 s for one step and its report")
    assert judge(asked(deadline_s=50.0)) is None
    assert judge(candidate(workload=WORKLOAD)) is None
    plain = {key: value for key, value in WORKLOAD.items() if key != "adaptive"}
    assert judge(asked(deadline_s=5.0, workload=plain)) is None


def test_a_block_of_a_newer_platform_is_declined_and_ends_no_agent(tmp_path: Path) -> None:
    judge = Pace(tmp_path / "pace.json").judging(lambda one: None)
    refusal = judge(asked(workload={**WORKLOAD, "adaptive": {"min_layers": 2}}))
    assert refusal is not None
    assert refusal.code == "unsupported"
    assert "min_layers" in refusal.message


@pytest.mark.torch
async def test_a_decline_for_time_is_not_remembered(tmp_path: Path) -> None:
    home = device_home(tmp_path / "device")
    speeds = {f"{PROGRAM}/digits": Speed(examples_per_s=0.5)}
    (home / "pace.json").write_bytes(msgspec.json.encode({"speeds": speeds}))

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect(wire.CheckIn)
        await peer.send(asked("a1", deadline_s=1.0))
        declined = await peer.expect(wire.Decline)
        assert (declined.code, "one step" in declined.message) == ("too_slow", True)
        await peer.expect(wire.CheckIn)
        await peer.send(asked("a2", deadline_s=100.0))
        await peer.expect(wire.Accept)

    async with gateway(script) as one:
        point_to(home, one.url)
        agent = Agent(home=home, trainer=EchoTrainer(), options=AgentOptions())
        serving = asyncio.create_task(agent.run())
        await one.finished()
        await agent.stop()
        await serving


def program_work(folder: Path, **changes: Any) -> LocalWork:
    (folder / "program").write_bytes(container.dump(linear()))
    arrays.save_file(linear_parameters(), folder / "model")
    data = {f"{k}_{s}": v for s in ("train", "val") for k, v in linear_data().items()}
    np.savez(folder / "data.npz", **data)
    return LocalWork(
        assignment=asked(**changes),
        parameters=folder / "model",
        program=folder / "program",
        dataset=folder / "data.npz",
        handler=None,
        output=folder / "update",
    )


@pytest.mark.torch
@pytest.mark.parametrize(("weigh", "weight"), [("examples", 2.0), ("processed", 12.0)])
async def test_partial_work_is_done_in_the_child_and_weighed_as_the_job_says(
    tmp_path: Path, weigh: str, weight: float
) -> None:
    pace = Pace(tmp_path / "pace.json")
    pace.trained(WORKLOAD, done(6.0, seconds=2.0), slowdown=1.0)
    workload = {**WORKLOAD, "adaptive": {"reserve": 0.0, "weigh": weigh}}
    work = program_work(tmp_path, workload=workload)
    plan = pace.plan(work, left_s=2.0, examples=2)
    assert plan is not None
    assert plan.max_steps == 6
    # What is planned, not the clock of a busy machine, shall end this one.
    plan = replace(plan, stop_after_s=60.0)
    async with TrainerPool(1, 700) as pool:
        found = await PoolTrainer(pool).run(
            replace(work, plan=plan), timeout_s=60, progress=lambda part: None
        )
        assert (found.weight, found.metrics["local_steps"]) == (weight, 6.0)
        assert found.cold
        assert found.processed == 12
        assert 0 < found.train_s <= found.seconds
        plan = replace(plan, max_steps=None, min_steps=3, stop_after_s=0.0)
        found = await PoolTrainer(pool).run(
            replace(work, plan=plan), timeout_s=60, progress=lambda part: None
        )
    assert not found.cold
    assert found.metrics["local_steps"] == 3.0, "time was up, but three steps were promised"


def test_the_report_counts_too_when_time_is_planned(tmp_path: Path) -> None:
    pace = Pace(tmp_path / "pace.json")
    pace.saw(TransferProgress(1, 0, 100_000), 0.0)
    pace.saw(ACCEPTED, 100_000.0)  # one byte a second
    with pytest.raises(TrainingError, match="the round has 10 s left") as caught:
        pace.plan(program_work(tmp_path), left_s=10.0, examples=2)
    assert caught.value.code == "too_slow"
    halved = {**WORKLOAD, "adaptive": {"reserve": 0.0, "codecs": ["fp16"]}}
    plan = pace.plan(program_work(tmp_path, workload=halved), left_s=10.0, examples=2)
    assert plan is not None
    assert plan.codec == "fp16", "three floats are 6 bytes now"


@pytest.mark.torch
async def test_the_learning_rate_falls_from_round_to_round(tmp_path: Path) -> None:
    train = {"learning_rate": 0.1, "decay": 0.5, "local_steps": 1, "batch_size": 2}
    moved = []
    async with TrainerPool(1, 700) as pool:
        for number in (1, 3):
            work = program_work(tmp_path, workload={**WORKLOAD, "train": train}, number=number)
            await PoolTrainer(pool).run(work, timeout_s=60, progress=lambda part: None)
            moved.append(float(np.abs(arrays.load(work.output)["weight"]).sum()))
    assert moved[1] == pytest.approx(moved[0] / 4, rel=1e-4)
