"""What the adaptive benchmark trains: two tasks, dealt out to the devices of a fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from demo import data as demo_data
from demo.data import Examples
from demo.models import DigitsMLP
from propius import arrays
from propius.program import container, export
from propius.program.interpreter import CompiledProgram

DEVICES = 16
BATCH = 16
SIZE = 12
CLASSES = 10


class Net(nn.Module):
    """Two convolutions with batch normalisation over ``SIZE`` × ``SIZE`` pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.out = nn.Linear(16 * (SIZE // 4) ** 2, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.norm(self.conv1(x))), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        logits: torch.Tensor = self.out(x.flatten(1))
        return logits


@dataclass
class Task:
    """A model as a program, what the fleet has, and the test split."""

    program: CompiledProgram
    start: dict[str, Any]
    hands: list[Examples]
    test: Examples
    learning_rate: float
    codec_bytes: dict[str, float]


def digits() -> Task:
    """Handwritten digits and a network of one hidden layer."""
    return make_task(demo_data.digits(), DigitsMLP(), learning_rate=0.1)


def cnn() -> Task:
    """Ten patterns of blurred noise, each seen through more noise; a small CNN."""
    rng = np.random.default_rng(5)
    coarse = rng.standard_normal((CLASSES, 1, SIZE // 3, SIZE // 3)).repeat(3, 2).repeat(3, 3)
    labels = np.arange(2400) % CLASSES
    noise = rng.standard_normal((len(labels), 1, SIZE, SIZE))
    pixels = (coarse[labels] + 2.0 * noise).astype(np.float32)
    whole = Examples(pixels, labels.astype(np.int64))
    order = rng.permutation(len(labels))
    found = demo_data.Dataset(whole.take(order[:1600]), whole.take(order[1600:]))
    return make_task(found, Net(), learning_rate=0.05)


def make_task(found: demo_data.Dataset, module: nn.Module, *, learning_rate: float) -> Task:
    batch = torch.from_numpy(found.test.x[:4]), torch.from_numpy(found.test.y[:4])
    made = export(module, nn.functional.cross_entropy, batch)
    dealt = demo_data.deal(found.train.y, DEVICES, least=2 * BATCH)
    return Task(
        program=CompiledProgram(container.load(made.program)),
        start=arrays.load(made.parameters),
        hands=[found.train.take(one) for one in dealt],
        test=found.test,
        learning_rate=learning_rate,
        codec_bytes={"fp32": len(made.parameters), "fp16": len(made.parameters) / 2},
    )


def columns(examples: Examples) -> dict[str, Any]:
    return {"x": examples.x, "y": examples.y}
