"""Makes a program from an ``nn.Module``, on the submitter's machine, through ``torch.export``."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from propius import arrays
from propius.program import container
from propius.program.errors import ProgramError
from propius.program.graph_export import ExportError, translate
from propius.program.interpreter import DTYPES, CompiledProgram
from propius.program.schema import Graph, Input, Manifest, Metric, Parameter, Size

__all__ = ["ExportError", "ExportedProgram", "export"]
Loss = Callable[..., Tensor]
_CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class ExportedProgram:
    """What a job needs of a model.

    Parameters
    ----------
    program
        The container's bytes.
    parameters
        The initial parameters and buffers, as safetensors bytes.
    manifest
        What stands in the program about its tensors, inputs and outputs.
    """

    program: bytes
    parameters: bytes
    manifest: Manifest


class _WithLoss(nn.Module):
    def __init__(self, module: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.module = module
        self.loss = loss

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        *features, target = inputs
        predictions = self.module(*features)
        return self.loss(predictions, target), predictions


def export(
    module: nn.Module,
    loss: Loss,
    example_batch: Sequence[Tensor] | Mapping[str, Tensor],
    *,
    input_names: Sequence[str] | None = None,
    max_batch: int = 65_536,
) -> ExportedProgram:
    """Make a program, and the initial parameters, from a module.

    Parameters
    ----------
    module
        Takes the features (all inputs but the last) and returns the predictions. It is copied.
    loss
        ``loss(predictions, target)`` → scalar mean over the batch; a function or a module without
        parameters, such as ``torch.nn.functional.cross_entropy``.
    example_batch
        Features and, last, the target, each with the batch first; at least 2 examples. A mapping
        also gives their names.
    input_names
        Names of the arrays in the device's data; ``x``, ``y`` by default (``x0``, ``x1``, … when
        there are several features).
    max_batch
        Largest batch that the program accepts.

    Raises
    ------
    ExportError
        Saying what cannot be exported, and why.

    Examples
    --------
    >>> batch = torch.zeros(4, 64), torch.zeros(4, dtype=torch.int64)
    >>> made = export(nn.Linear(64, 10), nn.functional.cross_entropy, batch)
    >>> [parameter.name for parameter in made.manifest.parameters]
    ['weight', 'bias']
    """
    names, batch = _named(example_batch, input_names)
    wrapped = _WithLoss(copy.deepcopy(module).cpu(), loss)
    train, updates = _traced(wrapped.train(), batch, names, max_batch)
    evaluation, eval_updates = _traced(wrapped.eval(), batch, names, max_batch)
    if eval_updates:
        raise ExportError("eval.json", f"evaluation changes buffers: {', '.join(eval_updates)}")
    tensors = _tensors(wrapped.module)
    constants = {**train.constants, **evaluation.constants}
    manifest = Manifest(
        format=1,
        sizes={"batch": Size(min=1, max=max_batch)},
        parameters=_parameters(wrapped.module, tensors, updates),
        inputs=[
            Input(name=n, dtype=_code(n, t), shape=["batch", *t.shape[1:]])
            for n, t in zip(names, batch, strict=True)
        ],
        loss="loss",
        metrics=_metrics(wrapped.module, names, batch),
    )
    program = container.Program(
        manifest,
        train.graph,
        evaluation.graph,
        arrays.save({name: value.detach().numpy() for name, value in constants.items()}),
    )
    data = container.dump(program)
    try:
        compiled = CompiledProgram(container.load(data))
        _check_agrees(compiled, wrapped.eval(), dict(zip(names, batch, strict=True)))
    except ProgramError as error:
        raise ExportError(error.field, f"the module cannot be exported: {error}") from error
    initial = arrays.save({name: value.detach().numpy() for name, value in tensors.items()})
    return ExportedProgram(data, initial, manifest)


def _check_agrees(
    compiled: CompiledProgram, eager: _WithLoss, inputs: Mapping[str, Tensor]
) -> None:
    """Run what was exported once more: a wrong graph is found here, not on the devices."""
    with torch.no_grad():
        loss, _ = eager(*inputs.values())
        if loss.dim() != 0 or not loss.is_floating_point():
            raise ExportError(
                "loss", f"it must be one number, the batch's mean; its shape is {list(loss.shape)}"
            )
        state = _tensors(eager.module)
        compiled.train(state, inputs)
        outputs, _ = compiled.eval(state, inputs)
    if not torch.allclose(outputs["loss"], loss, rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ExportError(
            "eval", f"the program's loss is {outputs['loss'].item()}, the module's {loss.item()}"
        )


def _named(
    batch: Sequence[Tensor] | Mapping[str, Tensor], names: Sequence[str] | None
) -> tuple[list[str], list[Tensor]]:
    if isinstance(batch, Mapping):
        names, batch = list(batch), list(batch.values())
    if len(batch) < 2:
        raise ExportError("example_batch", "it needs the features and, last, the target")
    if names is None:
        features = len(batch) - 1
        names = ["x"] if features == 1 else [f"x{index}" for index in range(features)]
        names = [*names, "y"]
    if len(names) != len(batch):
        raise ExportError("input_names", f"{len(names)} names for {len(batch)} inputs")
    for name, value in zip(names, batch, strict=True):
        if value.dim() == 0 or value.shape[0] != batch[0].shape[0] or value.shape[0] < 2:
            raise ExportError(
                f"example_batch.{name}",
                f"shape is {list(value.shape)}; the first dimension is the batch, the same in all"
                " inputs, and at least 2",
            )
    return list(names), list(batch)


@dataclass(frozen=True, slots=True)
class _Traced:
    graph: Graph
    constants: dict[str, Tensor]


def _traced(
    module: nn.Module, batch: Sequence[Tensor], names: Sequence[str], max_batch: int
) -> tuple[_Traced, list[str]]:
    mode = "train" if module.training else "eval"
    size = torch.export.Dim("batch", min=1, max=max_batch)
    # torch logs and prints the whole graph when it fails; the error below says what matters.
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        quiet = io.StringIO()
        with (
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # torch's own deprecations, none of the caller's
            exported = torch.export.export(
                module,
                tuple(batch),
                dynamic_shapes=(tuple({0: size} for _ in batch),),
                strict=False,
            ).run_decompositions({})
    except Exception as error:  # It raises whatever the module raises.
        raise _not_traceable(mode, error) from error
    finally:
        log.setLevel(level)
    graph, constants = translate(f"{mode}.json", exported, names)
    return _Traced(graph, constants), list(graph.updates)


def _not_traceable(mode: str, error: Exception) -> ExportError:
    text = str(error).strip().split("\n", 1)[0][:500]
    hint = ""
    if "data-dependent" in text or "GuardOnDataDependent" in type(error).__name__:
        hint = "; the module's Python branches on the value of a tensor: use torch.where"
    elif "specialized" in str(error) or "Constraints violated" in str(error):
        hint = "; the module fixes the batch size: use x.shape[0] or -1, never a number"
    return ExportError(
        mode, f"torch.export cannot trace the module ({type(error).__name__}: {text}){hint}"
    )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    result: dict[str, Tensor] = dict(module.named_parameters())
    result.update(module.named_buffers())
    return result


def _parameters(
    module: nn.Module, tensors: Mapping[str, Tensor], updates: Sequence[str]
) -> list[Parameter]:
    trained = {name for name, value in module.named_parameters() if value.requires_grad}
    return [
        Parameter(
            name=name,
            dtype=_code(name, value),
            shape=list(value.shape),
            rule="mean"
            if name in trained or (name in updates and value.is_floating_point())
            else "server",
            trainable=name in trained,
        )
        for name, value in tensors.items()
    ]


def _code(name: str, value: Tensor) -> Any:
    code = _CODES.get(value.dtype)
    if code is None or code == "BF16":
        allowed = ", ".join(code for code in DTYPES if code != "BF16")
        raise ExportError(name, f"dtype {value.dtype} cannot be exported; allowed: {allowed}")
    return code


def _metrics(module: nn.Module, names: Sequence[str], batch: Sequence[Tensor]) -> list[Metric]:
    target = batch[-1]
    with torch.no_grad():
        predictions = module.eval()(*batch[:-1])
    classes = target.dtype == torch.int64 and predictions.shape[:-1] == target.shape
    return [Metric(kind="accuracy", output="predictions", target=names[-1])] if classes else []
