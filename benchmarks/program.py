"""What interpreting a program costs over eager training of the same module: ResNet-18.

    .venv/bin/python -m benchmarks.program
    .venv/bin/python -m benchmarks.program --steps 2 --width 8

Both do the same steps of SGD on the same small batches with the same trainer's optimiser, on one
thread, by turns; the figure is the median of the turns' ratios of processor time.
``warm_start_ms`` is the other half of a round's overhead: from the last byte of a round's
parameters, whose digest is known by then, to the first step in a warm child, through the agent's
own cache, planning and trainer.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import result
from benchmarks.models import ResNet18
from propius import wire
from propius.agent import device
from propius.agent.cache import BlobCache
from propius.agent.events import Event, Finished, TrainingFinished
from propius.agent.execution import Execution
from propius.agent.identity import Enrolment, Home, save_enrolment
from propius.agent.pace import Pace
from propius.agent.pool_trainer import PoolTrainer
from propius.agent.spool import Spool
from propius.program import container, export
from propius.program.interpreter import CompiledProgram
from propius.training import optimizers, torch_trainer
from propius.training.brake import Brake
from propius.training.config import TrainConfig
from propius.training.pool import TrainerPool
from propius.training.tasks import Done, Task

STEPS = 8
TURNS = 7
WIDTH = 64
SIDE = 32
BATCH = 16
STARTS = 15
SPLITS = ("train", "val")
ADAPTIVE = {"min_steps": 1}
CONFIG = TrainConfig(learning_rate=0.01, local_steps=STEPS, batch_size=BATCH)
TARGETS = {"overhead": ("<=", 0.15), "warm_start_ms": ("<=", 50.0)}


def eager(module: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    """Train the module itself, as a script would."""
    weights = [one for one in module.parameters() if one.requires_grad]
    step = optimizers.make(CONFIG)
    for index in range(steps):
        part = slice(index * BATCH, (index + 1) * BATCH)
        loss = nn.functional.cross_entropy(module(x[part]), y[part])
        gradients = list(torch.autograd.grad(loss, weights))
        with torch.no_grad():
            step(weights, gradients)


def cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def overhead(steps: int, width: int) -> tuple[dict[str, float], Any, dict[str, Any]]:
    """Return the ratio, the export, and the data that both trained on."""
    torch.manual_seed(0)
    module = ResNet18(width=width).train()
    x, y = torch.randn(steps * BATCH, 3, SIDE, SIDE), torch.randint(0, 10, (steps * BATCH,))
    made = export(module, nn.functional.cross_entropy, (x[:4], y[:4]))
    program = CompiledProgram(container.load(made.program))
    start = {name: one.numpy().copy() for name, one in module.state_dict().items()}
    data = {"x": x.numpy(), "y": y.numpy()}
    config = TrainConfig(learning_rate=0.01, local_steps=steps, batch_size=BATCH)

    def ours() -> None:
        torch_trainer.train(program, start, data, config, 0)

    eager(module, x, y, 1)
    ratios, eagers = [], []
    for _ in range(TURNS):
        eagers.append(cpu_s(lambda: eager(module, x, y, steps)))
        ratios.append(cpu_s(ours) / eagers[-1])
    figures = {
        "overhead": round(statistics.median(ratios) - 1, 3),
        "eager_step_ms": round(statistics.median(eagers) / steps * 1000, 1),
        "program_kb": round(len(made.program) / 1000, 1),
    }
    return figures, made, data


class TellingPool(TrainerPool):
    """Tells when the first step of its last task began."""

    first_step_at = 0.0

    async def run(self, task: Task, timeout_s: float, brake: Brake | None = None) -> Done:
        done = await super().run(task, timeout_s, brake)
        self.first_step_at = time.perf_counter() - done.seconds + done.start_s
        return done


def enrolled(folder: Path, data: dict[str, Any]) -> device.Device:
    """Make a device with one data set."""
    home = Home(folder)
    home.prepare()
    enrolment = Enrolment(device="bench", gateway="ws://none", pool="bench", pool_tenants=["bench"])
    save_enrolment(home, enrolment)
    np.savez(home / "data.npz", **{f"{name}_{of}": data[name] for name in data for of in SPLITS})
    (home / "datasets.toml").write_text('[noise]\npath = "data.npz"\n')
    return device.load(home.path)


def assigned(number: int, made: Any) -> wire.Assignment:
    """Return a round's assignment of one step: its parameters are new, the program is not."""
    program, model = (
        wire.Blob(digest=hashlib.sha256(kind + of).hexdigest(), size_bytes=len(of))
        for kind, of in ((b"program", made.program), (f"{number}".encode(), made.parameters))
    )
    train = {"learning_rate": 0.01, "local_steps": 1, "batch_size": 2}
    return wire.Assignment(
        id=f"a{number}", job="j", job_name="bench", tenant="bench", round=f"r{number}",
        number=number + 1, attempt=1, kind="train", constraints={}, parameters=model,
        workload={"kind": "program", "dataset": "noise", "train": train, "adaptive": ADAPTIVE},
        program=program, codec="fp32", max_update_bytes=1 << 30, seed=number, start_s=10.0,
        lease_s=30.0, deadline_s=600.0, ticket="",
    )  # fmt: skip


async def warm_start_ms(made: Any, data: dict[str, Any]) -> dict[str, float]:
    """Give an agent's execution one round after the other, each from its last byte on."""
    with tempfile.TemporaryDirectory() as name:
        one = enrolled(Path(name), data)
        await one.datasets.refresh()
        cache = BlobCache(one.home / "cache", one.home / "partial")
        ended: asyncio.Queue[Event] = asyncio.Queue()
        starts = []
        async with TellingPool(1, 2048, nice=0) as pool:
            work = Execution(
                trainer=PoolTrainer(pool), spool=Spool(one.home / "spool"), cache=cache, device=one,
                slowdown=1.0, pace=Pace(one.home / "pace.json"), emit=ended.put_nowait,
            )  # fmt: skip
            for number in range(STARTS + 1):
                given = assigned(number, made)
                assert given.program is not None
                cache.partial(given.program.digest).write_bytes(made.program)
                cache.admit(given.program.digest)
                cache.partial(given.parameters.digest).write_bytes(made.parameters)
                began = time.perf_counter()
                cache.admit(given.parameters.digest)
                work.start(given)
                event = await ended.get()
                assert isinstance(event, TrainingFinished), event
                assert isinstance(event.outcome, Finished), event.outcome
                starts.append((pool.first_step_at - began) * 1000)
    return {
        "cold_start_ms": round(starts[0], 1),
        "warm_start_ms": round(statistics.median(starts[1:]), 1),
        "parameters_mb": round(len(made.parameters) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--width", type=int, default=WIDTH)
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures, made, data = overhead(options.steps, options.width)
    figures |= asyncio.run(warm_start_ms(made, data))
    print(result.line("program", figures, TARGETS))


if __name__ == "__main__":
    main()
