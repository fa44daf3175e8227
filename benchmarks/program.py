"""What interpreting a program costs over eager training of the same module: ResNet-18.

    .venv/bin/python -m benchmarks.program
    .venv/bin/python -m benchmarks.program --steps 2 --width 8

Both do the same steps of SGD on the same small batches with the same trainer's optimiser, on one
thread, by turns; the figure is the median of the turns' ratios of processor time.
``warm_start_ms`` is the other half of a round's overhead: from handing a warm child its second task
of a program to its first step, reading parameters and data from disk.
"""

from __future__ import annotations

import argparse
import asyncio
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
from propius.program import container, export
from propius.program.interpreter import CompiledProgram
from propius.training import optimizers, torch_trainer
from propius.training.config import TrainConfig
from propius.training.pool import TrainerPool
from propius.training.tasks import ProgramTask

STEPS = 8
TURNS = 7
WIDTH = 64
SIDE = 32
BATCH = 16
STARTS = 15
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


async def warm_start_ms(made: Any, data: dict[str, Any]) -> dict[str, float]:
    """Hand a warm child tasks of one step; what is not the step itself is the start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "program").write_bytes(made.program)
        np.savez(folder / "data.npz", x_train=data["x"], y_train=data["y"])
        config = TrainConfig(learning_rate=0.01, local_steps=1, batch_size=2)
        starts = []
        async with TrainerPool(1, 2048, nice=0) as pool:
            for number in range(STARTS + 1):
                # A round's parameters are new; the program and the data are what they were.
                parameters = folder / f"parameters-{number}"
                parameters.write_bytes(made.parameters)
                task = ProgramTask(
                    action="train",
                    program_path=str(folder / "program"),
                    parameters_path=str(parameters),
                    data_path=str(folder / "data.npz"),
                    split="train",
                    output_path=str(folder / "out"),
                    config=config,
                )
                began = time.perf_counter()
                done = await pool.run(task, timeout_s=120)
                starts.append((time.perf_counter() - began - done.seconds + done.start_s) * 1000)
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
