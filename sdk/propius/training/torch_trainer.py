"""Trains and evaluates a program on a device's arrays. Deterministic, given the seed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from propius import arrays, tensors
from propius.arrays import Array
from propius.program.errors import RunError
from propius.program.interpreter import CompiledProgram, out_of_memory, tensor
from propius.program.schema import Manifest
from propius.training import batches, optimizers
from propius.training.config import TrainConfig

EVALUATION_BATCH = 256


class TrainingDiverged(ValueError):
    """Training ended with numbers that are not finite."""

    code = "training_diverged"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What local training gave: all tensors, the weight, means over the examples seen.

    ``processed`` counts an example as often as it was seen; ``examples`` those that there are.
    ``walked`` is the sum of the steps' learning rates, K·η where it is constant.
    """

    parameters: dict[str, Array]
    examples: int
    metrics: dict[str, float]
    steps: int
    processed: int = 0
    walked: float = 0.0


class _Means:
    """Loss and metrics, weighted by examples."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._sums: dict[str, float] = {"loss": 0.0}
        self.examples = 0

    def add(
        self, outputs: Mapping[str, Tensor], inputs: Mapping[str, Tensor], examples: int
    ) -> None:
        self.examples += examples
        self._sums["loss"] += outputs[self._manifest.loss].item() * examples
        for metric in self._manifest.metrics:
            target = inputs[metric.target]
            right = outputs[metric.output].argmax(dim=-1) == target
            # By shape, since a target may hold many labels an example.
            share = float(right.sum().item()) * examples / max(target.numel(), 1)
            self._sums[metric.kind] = self._sums.get(metric.kind, 0.0) + share

    def values(self) -> dict[str, float]:
        return {name: value / max(self.examples, 1) for name, value in self._sums.items()}


def train(
    program: CompiledProgram,
    parameters: Mapping[str, Array],
    data: Mapping[str, Array],
    config: TrainConfig,
    seed: int,
    enough: Callable[[int], bool] | None = None,
    *,
    frozen: Collection[str] = (),
    correction: Mapping[str, Array] | None = None,
) -> TrainResult:
    """Train locally.

    Parameters
    ----------
    program
        Compiled; its manifest says which arrays ``data`` must have.
    parameters
        The model's tensors by name; not changed.
    data
        Arrays by the names of the program's inputs, the examples first.
    config, seed
        How; the seed rules the order of examples and dropout. Uses torch's global generator.
    enough
        Asked before each step, with the number of steps so far, whether to end early.
    frozen
        Tensors that are not trained, whatever the program says, and do not come back.
    correction
        By tensor, what is added to the gradient of every step: c − cᵢ of SCAFFOLD.

    Raises
    ------
    TensorError, DataError
        If the model or the data does not fit the program.
    RunError, TrainingDiverged, MemoryError
        If an op fails, the result is not finite, or no memory is left.
    """
    state = _state(program.manifest, parameters)
    columns, examples = batches.checked(program.manifest, data)
    sources = {name: torch.from_numpy(array) for name, array in columns.items()}
    trainable = [p.name for p in program.manifest.parameters if p.trainable]
    names = [name for name in trainable if name not in frozen]
    # Only FedProx looks back at where it began.
    start = [state[name].clone() for name in names] if config.proximal_mu else []
    weights = [state[name].requires_grad_() for name in names]
    shifts = _shifts(correction or {}, names, weights)
    step = optimizers.make(config)
    means = _Means(program.manifest)
    torch.manual_seed(seed)
    steps, walked, planned = 0, 0.0, batches.count(examples, config)
    for chosen in batches.shuffled(examples, config, np.random.default_rng(seed)):
        if enough is not None and enough(steps):
            break
        index = torch.from_numpy(chosen)
        inputs = {name: source.index_select(0, index) for name, source in sources.items()}
        outputs, updates = program.train(state, inputs)
        gradients = _gradients(outputs[program.manifest.loss], weights)
        step.rate = optimizers.scheduled(config, steps, planned)
        with torch.no_grad():
            step(weights, optimizers.corrected(weights, gradients, start, shifts, config))
            means.add(outputs, inputs, len(chosen))
        state.update(updates)
        walked += step.rate
        steps += 1
    made = _finite({name: one for name, one in state.items() if name not in frozen})
    return TrainResult(made, examples, means.values(), steps, means.examples, walked)


def evaluate(
    program: CompiledProgram,
    parameters: Mapping[str, Array],
    data: Mapping[str, Array],
    batch_size: int = EVALUATION_BATCH,
) -> TrainResult:
    """Loss and metrics of a model over all of ``data``; no tensors come back. Raises as `train`."""
    state = _state(program.manifest, parameters)
    columns, examples = batches.checked(program.manifest, data)
    sources = {name: torch.from_numpy(array) for name, array in columns.items()}
    means = _Means(program.manifest)
    bounds = batches.spans(examples, batch_size)
    with torch.no_grad():
        for begin, end in bounds:
            inputs = {name: source[begin:end] for name, source in sources.items()}
            outputs, _ = program.eval(state, inputs)
            means.add(outputs, inputs, end - begin)
    metrics = means.values()
    if not all(np.isfinite(value) for value in metrics.values()):
        raise TrainingDiverged(f"the evaluation is not finite: {metrics}")
    return TrainResult({}, examples, metrics, len(bounds))


def _state(manifest: Manifest, parameters: Mapping[str, Array]) -> dict[str, Tensor]:
    expected = {p.name: tensors.TensorInfo(p.dtype, tuple(p.shape)) for p in manifest.parameters}
    tensors.check_matches(arrays.describe(dict(parameters)), expected)
    return {name: tensor(parameters[name]) for name in expected}


def _shifts(
    correction: Mapping[str, Array], names: list[str], weights: list[Tensor]
) -> list[Tensor]:
    if not correction:
        return []
    return [
        tensor(correction[name]).to(weight.dtype)
        if name in correction
        else torch.zeros_like(weight)
        for name, weight in zip(names, weights, strict=True)
    ]


def _gradients(loss: Tensor, weights: list[Tensor]) -> list[Tensor]:
    if loss.dim() != 0 or not loss.requires_grad:
        raise RunError(
            "train.json.outputs", "the loss is not one number that depends on the parameters"
        )
    try:
        found = torch.autograd.grad(loss, weights, allow_unused=True)
    except RuntimeError as error:
        if out_of_memory(error):
            raise MemoryError(str(error)) from error
        raise RunError("train.json", f"no gradient: {str(error).splitlines()[0]}") from error
    return [
        torch.zeros_like(weight) if gradient is None else gradient
        for weight, gradient in zip(weights, found, strict=True)
    ]


def _finite(state: Mapping[str, Tensor]) -> dict[str, Array]:
    result = {}
    for name, value in state.items():
        array: Array = value.detach().numpy()
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise TrainingDiverged(
                f"after training, {name!r} is not finite; try a smaller learning rate or clip_norm"
            )
        result[name] = array
    return result
