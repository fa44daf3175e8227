"""Runs a program's graph op by op with torch; autograd goes through it as through eager code.

A graph is compiled once to a list of bound calls, so a step costs one Python call per node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from propius.arrays import Array, load
from propius.program import guards
from propius.program.container import Program
from propius.program.errors import OpNotAllowed, RunError
from propius.program.ops import OPS
from propius.program.schema import Argument, Graph, Input, Manifest, Node

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_FORMATS = {
    "=contiguous_format": torch.contiguous_format,
    "=preserve_format": torch.preserve_format,
    "=channels_last": torch.channels_last,
}
_LITERALS: Mapping[str, Any] = {"#inf": math.inf, "#-inf": -math.inf, **_FORMATS}
# A slot and, inside a list argument, the place in it.
_Fill = tuple[int, int]
_ListFill = tuple[int, tuple[_Fill, ...]]


class _Call:
    """One node, bound: which op, which slots go where in its arguments, where its results go."""

    __slots__ = ("args", "fills", "frees", "function", "keywords", "lists", "out", "outs", "where")

    def __init__(self, node: Node, where: str, slots: dict[str, int]) -> None:
        self.function = _operator(node, where)
        self.where = f"{where} ({node.op})"
        self.fills: list[_Fill] = []
        self.lists: list[_ListFill] = []
        self.args = [
            self._argument(position, argument, slots)
            for position, argument in enumerate(node.inputs)
        ]
        self.keywords = {name: _literal(value) for name, value in node.keywords.items()}
        for name in node.outputs:
            if name is not None:
                slots[f"%{name}"] = len(slots)
        single = OPS[node.op].outputs == 1
        self.out = slots[f"%{node.outputs[0]}"] if single and node.outputs[0] else None
        self.outs = (
            []
            if single
            else [(i, slots[f"%{name}"]) for i, name in enumerate(node.outputs) if name]
        )
        self.frees: list[int] = []

    def _argument(self, position: int, argument: Argument, slots: dict[str, int]) -> Any:
        if isinstance(argument, str) and argument[0] in "%$":
            self.fills.append((position, slots[argument]))
            return None
        if isinstance(argument, list):
            fills = tuple(
                (index, slots[item])
                for index, item in enumerate(argument)
                if isinstance(item, str) and item[0] in "%$"
            )
            if fills:
                self.lists.append((position, fills))
        return _literal(argument)

    def __call__(self, values: list[Any]) -> None:
        args = self.args.copy()
        for position, slot in self.fills:
            args[position] = values[slot]
        for position, fills in self.lists:
            items = args[position] = args[position].copy()
            for index, slot in fills:
                items[index] = values[slot]
        result = self.function(*args, **self.keywords)
        if self.out is not None:
            values[self.out] = result
        for index, slot in self.outs:
            values[slot] = result[index]
        for slot in self.frees:
            values[slot] = None


def _operator(node: Node, where: str) -> Callable[..., Any]:
    # The container checks the list as well; here stands the last gate before torch.
    if node.op not in OPS:
        raise OpNotAllowed(f"{where}.op", f"op {node.op!r} is not allowed")
    _, name, overload = node.op.split(".")
    packet = getattr(torch.ops.aten, name, None)
    operator = getattr(packet, overload, None)
    if operator is None:
        raise RunError(f"{where}.op", f"torch {torch.__version__} here has no op {node.op!r}")
    # The bare call: OpOverload.__call__ only adds a Python frame.
    function: Callable[..., Any] = getattr(operator, "_op", operator)
    return guards.guarded(node.op, function)


def _literal(value: Argument) -> Any:
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if not isinstance(value, str):
        return value
    if value[0] == "!":
        return DTYPES[value[1:]]
    if value in _LITERALS:
        return _LITERALS[value]
    return value[1:] if value[0] == "=" else None


class CompiledGraph:
    """One graph, ready to run many times."""

    def __init__(
        self, entry: str, graph: Graph, manifest: Manifest, constants: Mapping[str, Tensor]
    ) -> None:
        self._manifest = manifest
        slots: dict[str, int] = {}
        for reference in (
            *(f"%p.{parameter.name}" for parameter in manifest.parameters),
            *(f"%i.{item.name}" for item in manifest.inputs),
            *(f"${name}" for name in manifest.sizes),
            *(f"%c.{name}" for name in constants),
        ):
            slots[reference] = len(slots)
        self._constants = list(constants.values())
        self._calls = [
            _Call(node, f"{entry}.nodes[{index}]", slots) for index, node in enumerate(graph.nodes)
        ]
        self._outputs = [(name, slots[ref]) for name, ref in graph.outputs.items()]
        self._updates = [(name, slots[ref]) for name, ref in graph.updates.items()]
        self._spare = [None] * (len(slots))
        self._free_early()

    def _free_early(self) -> None:
        """Drop each value after its last use: autograd keeps what it needs, the rest is freed."""
        last: dict[int, _Call] = {}
        for call in self._calls:
            for _, slot in call.fills:
                last[slot] = call
            for _, fills in call.lists:
                for _, slot in fills:
                    last[slot] = call
        kept = {slot for _, slot in (*self._outputs, *self._updates)}
        for slot, call in last.items():
            if slot not in kept:
                call.frees.append(slot)

    def __call__(
        self, parameters: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Run the graph.

        Parameters
        ----------
        parameters
            All tensors of the model, by name.
        inputs
            The program's inputs, by name; named sizes are bound from their shapes.

        Returns
        -------
        outputs, updates
            Named results, and the new values of buffers.

        Raises
        ------
        RunError
            Naming the node whose op failed, or the input that does not fit.
        """
        sizes = bind_sizes(self._manifest, {name: tuple(t.shape) for name, t in inputs.items()})
        values: list[Any] = [parameters[p.name] for p in self._manifest.parameters]
        values += [_input(item, inputs[item.name]) for item in self._manifest.inputs]
        values += [sizes[name] for name in self._manifest.sizes]
        values += self._constants
        values += self._spare[len(values) :]
        for call in self._calls:
            try:
                call(values)
            except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
                raise _failed(call.where, error) from error
        return (
            {name: values[slot] for name, slot in self._outputs},
            {name: values[slot].detach() for name, slot in self._updates},
        )


def _failed(where: str, error: Exception) -> Exception:
    text = str(error).split("\n", 1)[0][:500]
    if out_of_memory(error):
        return MemoryError(f"{where}: {text}")
    return RunError(where, text)


def out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python says that no memory was left."""
    text = str(error)
    return isinstance(error, MemoryError) or "allocate memory" in text or "bad_alloc" in text


def _input(item: Input, tensor: Tensor) -> Tensor:
    if tensor.dtype is not DTYPES[item.dtype]:
        raise RunError(f"inputs.{item.name}", f"dtype is {tensor.dtype}, expected {item.dtype}")
    return tensor


def bind_sizes(manifest: Manifest, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Find the named sizes in the shapes of the inputs, and check all shapes.

    Raises
    ------
    RunError
        Naming the input, its shape and the expected one.
    """
    sizes: dict[str, int] = {}
    for item in manifest.inputs:
        field = f"inputs.{item.name}"
        shape = shapes.get(item.name)
        if shape is None:
            raise RunError(field, f"the input is missing; there are {', '.join(shapes) or 'none'}")
        fits = len(shape) == len(item.shape) and all(
            got == (sizes.setdefault(want, got) if isinstance(want, str) else want)
            for got, want in zip(shape, item.shape, strict=True)
        )
        if not fits:
            bound = f" with {sizes}" if sizes else ""
            raise RunError(field, f"shape is {list(shape)}, expected {item.shape}{bound}")
    for name, bounds in manifest.sizes.items():
        if not bounds.min <= sizes.setdefault(name, bounds.min) <= bounds.max:
            raise RunError(
                f"sizes.{name}", f"{sizes[name]} is not within {bounds.min} to {bounds.max}"
            )
    return sizes


class CompiledProgram:
    """Both graphs of a program, ready to run; ``manifest`` says what they take."""

    def __init__(self, program: Program) -> None:
        self.manifest = program.manifest
        constants = {name: tensor(array) for name, array in load(program.constants).items()}
        self.train = CompiledGraph("train.json", program.train, program.manifest, constants)
        self.eval = CompiledGraph("eval.json", program.eval, program.manifest, constants)


def tensor(array: Array) -> Tensor:
    """A torch tensor that owns a copy of a numpy array."""
    return torch.from_numpy(array.copy())
