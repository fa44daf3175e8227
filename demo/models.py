"""The demo's two neural networks and their export to programs; needs torch.

``python -m demo.models FOLDER`` writes ``<name>.program`` and ``<name>.safetensors`` for each.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from demo.data import Examples
from propius.program import export

SEED = 7


class DigitsMLP(nn.Module):
    """64 pixels → 64 hidden units → 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 64)
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape ``(batch, 10)``."""
        logits: Tensor = self.out(torch.relu(self.hidden(x)))
        return logits


class DigitsCNN(nn.Module):
    """Two convolutions with batch normalisation over 8 × 8 pixels → 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(32)
        self.out = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape ``(batch, 10)``."""
        x = x.reshape(-1, 1, 8, 8)
        x = torch.max_pool2d(torch.relu(self.norm1(self.conv1(x))), 2)
        x = torch.max_pool2d(torch.relu(self.norm2(self.conv2(x))), 2)
        logits: Tensor = self.out(x.flatten(1))
        return logits


MODELS: dict[str, type[nn.Module]] = {"mlp": DigitsMLP, "cnn": DigitsCNN}


def export_all(folder: Path) -> None:
    """Write each network's program and its first parameters."""
    batch = {"x": torch.zeros(4, 64), "y": torch.zeros(4, dtype=torch.int64)}
    for name, make in MODELS.items():
        torch.manual_seed(SEED)
        made = export(make(), nn.functional.cross_entropy, batch)
        (folder / f"{name}.program").write_bytes(made.program)
        (folder / f"{name}.safetensors").write_bytes(made.parameters)


def accuracy(name: str, parameters: Mapping[str, NDArray[Any]], test: Examples) -> float:
    """Return the share of ``test`` that a downloaded model gets right, by torch itself."""
    model = MODELS[name]()
    model.load_state_dict({key: torch.from_numpy(value) for key, value in parameters.items()})
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(test.x))
    return float((logits.argmax(dim=1) == torch.from_numpy(test.y)).float().mean())


if __name__ == "__main__":
    export_all(Path(sys.argv[1]))
