"""Keep what this SDK exports with the torch that is here, for tests with any other.

    PYTHONPATH=sdk:. /venv/of/another/torch/bin/python -m tests.golden.export_programs

Run once for the oldest and for the newest torch that the SDK allows, whenever they change; what is
kept already stays as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models import Lora, Lstm, ResNet18, Transformer, tokens_loss
from propius import arrays
from propius.program import container, export
from propius.program.interpreter import CompiledProgram
from propius.training import torch_trainer

PROGRAMS = Path(__file__).resolve().parent / "programs"
LABELS = torch.arange(6) % 5
TOKENS = torch.arange(72).reshape(6, 12) % 50


def modules() -> dict[str, tuple[nn.Module, Any, tuple[Tensor, Tensor]]]:
    """Return networks with their losses and an example batch of each."""
    torch.manual_seed(3)
    pixels, rows = torch.randn(6, 3, 32, 32), torch.randn(6, 16)
    low_rank = nn.Sequential(Lora(nn.Linear(16, 12)), nn.ReLU(), Lora(nn.Linear(12, 5)))
    cross = nn.functional.cross_entropy
    return {
        "resnet18": (ResNet18(width=4), cross, (pixels, LABELS)),
        "lstm": (Lstm(), cross, (TOKENS, LABELS)),
        "transformer": (Transformer(), tokens_loss, (TOKENS, TOKENS.roll(-1, 1))),
        "lora": (low_rank, cross, (rows, LABELS)),
    }


def main() -> None:
    """Export all of them."""
    release = torch.__version__.partition("+")[0]
    folder = PROGRAMS / f"torch-{release}"
    folder.mkdir()
    losses = {}
    for name, (module, loss, (x, y)) in modules().items():
        made = export(module, loss, (x, y))
        data = {"x": x.numpy(), "y": y.numpy()}
        for ending, content in (
            ("program", made.program),
            ("safetensors", made.parameters),
            ("data.safetensors", arrays.save(data)),
        ):
            (folder / f"{name}.{ending}").write_bytes(content)
        program = CompiledProgram(container.load(made.program))
        found = torch_trainer.evaluate(program, arrays.load(made.parameters), data)
        losses[name] = {"before": dict(found.metrics)}
    (folder / "losses.json").write_text(json.dumps(losses, indent=2) + "\n")


if __name__ == "__main__":
    main()
