"""The kinds of network that must export: their programs train as the modules themselves do."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from propius import arrays
from propius.program import container, export
from propius.program.graph_export import ExportError
from propius.program.interpreter import CompiledProgram
from propius.training import torch_trainer
from propius.training.config import TrainConfig
from tests.golden.export_programs import PROGRAMS, modules

RELEASES = sorted(one.name for one in PROGRAMS.iterdir())


@pytest.mark.parametrize("name", ["resnet18", "lstm", "transformer", "lora"])
def test_a_program_computes_its_modules_loss_gradients_and_buffers(name: str) -> None:
    torch.set_num_threads(1)
    module, loss, batch = modules()[name]
    made = export(module, loss, batch)
    compiled = CompiledProgram(container.load(made.program))
    eager = copy.deepcopy(module).train()
    torch.manual_seed(11)
    expected = loss(eager(batch[0]), batch[1])
    expected.backward()

    state = {key: torch.from_numpy(one) for key, one in arrays.load(made.parameters).items()}
    trained = [one.name for one in made.manifest.parameters if one.trainable]
    for key in trained:
        state[key].requires_grad_()
    torch.manual_seed(11)
    outputs, updates = compiled.train(state, {"x": batch[0], "y": batch[1]})
    found = torch.autograd.grad(outputs["loss"], [state[key] for key in trained])

    torch.testing.assert_close(outputs["loss"], expected)
    gradients = dict(eager.named_parameters())
    for key, gradient in zip(trained, found, strict=True):
        torch.testing.assert_close(gradient, gradients[key].grad, rtol=1e-4, atol=1e-5)
    for key, buffer in eager.named_buffers():
        torch.testing.assert_close(updates.get(key, state[key]), buffer, rtol=1e-5, atol=1e-6)
    assert [metric.kind for metric in made.manifest.metrics] == ["accuracy"]


def test_only_what_is_learnt_beside_a_frozen_base_is_sent() -> None:
    module, loss, batch = modules()["lora"]
    rules = container.load(export(module, loss, batch).program).rules()
    assert {name for name, rule in rules.items() if rule == "mean"} == {
        "0.lora_a", "0.lora_b", "2.lora_a", "2.lora_b",
    }  # fmt: skip


class _Chooses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda one: one + 1, lambda one: one - 1, (self.last(x),))


def test_control_flow_is_refused_in_words() -> None:
    _, loss, batch = modules()["lora"]
    with pytest.raises(ExportError, match="no control flow"):
        export(_Chooses(), loss, batch)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", ["resnet18", "lstm", "transformer", "lora"])
def test_programs_of_other_releases_run(name: str, release: str) -> None:
    """The files are as this SDK exported them with that torch, and are never made anew."""
    torch.set_num_threads(1)
    folder = PROGRAMS / release
    program = CompiledProgram(container.load(folder / f"{name}.program"))
    parameters = arrays.load(folder / f"{name}.safetensors")
    kept = arrays.load(folder / f"{name}.data.safetensors")
    said = json.loads((folder / "losses.json").read_text())[name]
    found = torch_trainer.evaluate(program, parameters, kept).metrics
    assert found == pytest.approx(said["before"], rel=1e-4)
    # Dropout may draw other numbers in another torch: that it learns is what stays.
    first, many = (
        torch_trainer.train(program, parameters, kept, TrainConfig(local_steps=n, batch_size=6), 0)
        for n in (1, 12)
    )
    assert many.metrics["loss"] < first.metrics["loss"]
    assert all(np.isfinite(one).all() for one in many.parameters.values())
