"""One export for all tests here: tracing a module takes seconds."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from propius.program import container
from propius.program.exporter import ExportedProgram, export
from propius.program.interpreter import CompiledProgram


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 16, 3, padding=1)
        self.drop = nn.Dropout(0.25)
        self.last = nn.Linear(16 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.norm(self.first(x))), 2)
        x = nn.functional.max_pool2d(torch.relu(self.second(x)), 2)
        return self.last(self.drop(x.flatten(1)))


@dataclass
class Made:
    module: nn.Module
    exported: ExportedProgram
    compiled: CompiledProgram


@pytest.fixture(scope="session")
def cnn() -> Made:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = Cnn()
    batch = (torch.randn(4, 1, 8, 8), torch.randint(0, 10, (4,)))
    exported = export(module, nn.functional.cross_entropy, batch)
    return Made(module, exported, CompiledProgram(container.load(exported.program)))
