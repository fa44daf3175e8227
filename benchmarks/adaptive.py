"""What planning by a device's own speed saves: rounds' wall time against fixed local steps.

    .venv/bin/python -m benchmarks.adaptive
    .venv/bin/python -m benchmarks.adaptive --rounds 2 --seeds 1

A simulated fleet whose slowest device is 8 times slower than its fastest trains two tasks, with
the trainer that devices use and FedNova as the server steps it. Only the clock is virtual: an
example costs each device a known time, which varies from round to round by 10 %, and halves its
speed in one round of twenty. Plans come from ``propius.adaptive.plan`` and are learnt from, as in
the agent. With fixed steps a round lasts until its slowest device has reported; with plans it has a
deadline of ``DEADLINE`` of that. Accuracy is on a test split, the mean of the last five rounds.
``same_deadline`` is what fixed steps do under the plans' deadline.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from aggregation import strategies
from aggregation.strategies import Sum, WeightedSum
from benchmarks import result
from benchmarks.tasks import BATCH, DEVICES, Task, cnn, columns, digits
from demo.data import Examples
from propius import adaptive, arrays, codec
from propius.adaptive import Adaptive, Situation, Speed, TooSlow
from propius.training import torch_trainer
from propius.training.config import TrainConfig

SPREAD = 8.0
ROUNDS = 40
SEEDS = 3
STEPS = 20
FASTEST_PER_S = 400.0
OVERHEAD_S = 0.15
DEADLINE = 0.6
JOB = Adaptive(reserve=0.2, codecs=["fp16"], weigh="examples")
TARGETS = {
    "digits_wall_time_saved": (">=", 0.4),
    "cnn_wall_time_saved": (">=", 0.4),
    "digits_points_lost": ("<=", 0.5),
    "cnn_points_lost": ("<=", 0.5),
    "in_time": (">=", 0.95),
}


@dataclass
class Device:
    """One virtual device; ``speed`` is what it has learnt."""

    hand: Examples
    examples_per_s: float
    bytes_per_s: float
    speed: Speed | None = None


@dataclass
class Outcome:
    """What a run of rounds gave."""

    wall_s: float = 0.0
    asked: int = 0
    in_time: int = 0
    declined: int = 0
    accuracies: list[float] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.accuracies[-5:])) * 100


def fleet(task: Task, rng: np.random.Generator) -> list[Device]:
    """Devices whose speeds are spread evenly on a logarithmic scale, dealt out by chance."""
    speeds = rng.permutation(FASTEST_PER_S * np.geomspace(1, 1 / SPREAD, DEVICES))
    links = np.exp(rng.uniform(np.log(2e4), np.log(2e5), DEVICES))
    return [
        Device(hand, float(speed), float(link))
        for hand, speed, link in zip(task.hands, speeds, links, strict=True)
    ]


def slowest_s(task: Task, devices: Sequence[Device]) -> float:
    """How long all local steps take the slowest device, on an average day."""
    size = task.codec_bytes["fp32"]
    return max(
        OVERHEAD_S + 2 * size / one.bytes_per_s + STEPS * BATCH / one.examples_per_s
        for one in devices
    )


def run(task: Task, *, rounds: int, seed: int, deadline_s: float | None, plans: bool) -> Outcome:
    """Train for some rounds; without a deadline each waits for all of its devices."""
    rng = np.random.default_rng(seed)
    devices = fleet(task, rng)
    strategy = strategies.build("fednova", {})
    assert isinstance(strategy, WeightedSum)
    found, parameters = Outcome(), task.start
    for number in range(rounds):
        reports, times = [], []
        for index, one in enumerate(devices):
            found.asked += 1
            pace = one.examples_per_s * rng.lognormal(0, 0.1) * (0.5 if rng.random() < 0.05 else 1)
            limit_s = deadline_s if plans else None
            done = work(task, one, parameters, pace, limit_s, seed=1000 * number + index)
            if done is None:
                found.declined += 1
                continue
            times.append(done[1])
            if deadline_s is None or done[1] <= deadline_s:
                reports.append(done[0])
        found.in_time += len(reports)
        late = deadline_s is not None and len(reports) < len(times)
        found.wall_s += deadline_s if late and deadline_s is not None else max(times)
        parameters = folded(strategy, task, parameters, reports)
        shown = torch_trainer.evaluate(task.program, parameters, columns(task.test))
        found.accuracies.append(shown.metrics["accuracy"])
    return found


def work(
    task: Task,
    one: Device,
    parameters: dict[str, Any],
    pace: float,
    deadline_s: float | None,
    *,
    seed: int,
) -> tuple[torch_trainer.TrainResult, float] | None:
    """Train on a device; return the result and when it reports. ``pace`` is today's speed."""
    sizes = task.codec_bytes
    arrived_s = sizes["fp32"] / one.bytes_per_s
    config = TrainConfig(learning_rate=task.learning_rate, local_steps=STEPS, batch_size=BATCH)
    if deadline_s is None:
        done = torch_trainer.train(task.program, parameters, columns(one.hand), config, seed)
        train_s = done.processed / pace
        return done, 2 * arrived_s + OVERHEAD_S + train_s
    left_s = deadline_s - arrived_s
    situation = Situation(left_s, len(one.hand), one.speed, one.bytes_per_s, sizes)
    try:
        plan = adaptive.plan(JOB, situation, batch_size=BATCH, local_steps=STEPS, epochs=1)
    except TooSlow:
        return None
    enough = clock(plan, pace)
    done = torch_trainer.train(task.program, parameters, columns(one.hand), config, seed, enough)
    train_s = done.processed / pace
    newest = Speed(examples_per_s=pace, overhead_s=OVERHEAD_S)
    one.speed = newest if one.speed is None else one.speed.learnt(newest)
    sent = arrays.load(arrays.save(codec.encode(done.parameters, codec=plan.codec)))
    model = arrays.describe(task.start)
    back = codec.decode(sent, codec=plan.codec, expected=model)
    done = torch_trainer.TrainResult(back, done.examples, done.metrics, done.steps, done.processed)
    return done, arrived_s + OVERHEAD_S + train_s + sizes[plan.codec] / one.bytes_per_s


def clock(plan: adaptive.Plan, pace: float) -> Callable[[int], bool]:
    """The virtual clock's end of training, as the child has it with a real one."""
    last = math.inf if plan.max_steps is None else plan.max_steps

    def enough(steps: int) -> bool:
        late = steps * plan.batch_size / pace >= plan.stop_after_s
        return steps >= last or (steps >= plan.min_steps and late)

    return enough


def folded(
    strategy: WeightedSum,
    task: Task,
    before: dict[str, Any],
    reports: Sequence[torch_trainer.TrainResult],
) -> dict[str, Any]:
    """Step as the server does."""
    examples = sum(one.examples for one in reports)
    weights = [strategy.fold_weight(one.examples, one.steps) for one in reports]
    steps = sum(one.examples * one.steps for one in reports) / max(1, examples)
    after = dict(before)
    for parameter in task.program.manifest.parameters:
        if parameter.rule != "mean" or not reports:
            continue
        total = torch.zeros(parameter.shape)
        for weight, one in zip(weights, reports, strict=True):
            total.add_(torch.from_numpy(np.asarray(one.parameters[parameter.name])), alpha=weight)
        summed = Sum(total, sum(weights), len(reports), float(examples), steps)
        base = torch.from_numpy(before[parameter.name].copy())
        after[parameter.name] = strategy.step(parameter.name, base, summed, {})[0].numpy()
    return after


def measure(rounds: int, seeds: int) -> dict[str, float]:
    """Return the figures of both tasks."""
    figures: dict[str, float] = {}
    asked = in_time = declined = 0
    for name, make in (("digits", digits), ("cnn", cnn)):
        torch.manual_seed(0)
        task = make()
        kinds: dict[str, list[Outcome]] = {"fixed": [], "same_deadline": [], "adaptive": []}
        for seed in range(seeds):
            devices = fleet(task, np.random.default_rng(seed))
            deadline_s = DEADLINE * slowest_s(task, devices)
            for kind, given in (
                ("fixed", {"deadline_s": None, "plans": False}),
                ("same_deadline", {"deadline_s": deadline_s, "plans": False}),
                ("adaptive", {"deadline_s": deadline_s, "plans": True}),
            ):
                kinds[kind].append(run(task, rounds=rounds, seed=seed, **given))
        wall = {kind: sum(one.wall_s for one in runs) for kind, runs in kinds.items()}
        right = {kind: np.mean([one.accuracy for one in runs]) for kind, runs in kinds.items()}
        figures[f"{name}_wall_time_saved"] = round(1 - wall["adaptive"] / wall["fixed"], 3)
        figures[f"{name}_points_lost"] = round(float(right["fixed"] - right["adaptive"]), 2)
        for kind, value in right.items():
            figures[f"{name}_accuracy_{kind}"] = round(float(value), 2)
        late = [one.in_time / one.asked for one in kinds["same_deadline"]]
        figures[f"{name}_in_time_same_deadline"] = round(float(np.mean(late)), 3)
        asked += sum(one.asked - one.declined for one in kinds["adaptive"])
        in_time += sum(one.in_time for one in kinds["adaptive"])
        declined += sum(one.declined for one in kinds["adaptive"])
        print({key: value for key, value in figures.items() if key.startswith(name)})
    return {**figures, "in_time": round(in_time / asked, 4), "declined": declined, "asked": asked}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(options.rounds, options.seeds)
    print(result.line("adaptive", figures, TARGETS))


if __name__ == "__main__":
    main()
