"""Translates the graph that ``torch.export`` made into ours; names whatever has no place in it."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from propius.program.errors import ProgramError
from propius.program.interpreter import DTYPES
from propius.program.ops import OPS
from propius.program.schema import Argument, Graph, Node

_CODES = {dtype: code for code, dtype in DTYPES.items()}
_MODULE = "module."
# Where the results say nothing new: which device, which layout. A device trains on its own.
_DROPPED = {"device", "pin_memory", "layout", "non_blocking"}
# An alias has no meaning once nothing writes in place.
_IDENTITIES = {"aten.alias.default", "aten.lift_fresh_copy.default", "aten.detach_.default"}
_FORMATS = {
    torch.contiguous_format: "=contiguous_format",
    torch.preserve_format: "=preserve_format",
    torch.channels_last: "=channels_last",
}
# Without its promise that nothing else looks at the memory, which a device need not know of.
_SAFE = {"aten._unsafe_view.default": "aten.reshape.default"}
_SHAPED = {"aten.view.default", "aten.reshape.default"}


class ExportError(ProgramError):
    """A module that cannot become a program; the message says what and why."""

    code = "not_exportable"


def translate(
    entry: str, exported: ExportedProgram, names: Sequence[str]
) -> tuple[Graph, dict[str, Tensor]]:
    """Our graph of an exported one, and the constants that it uses.

    Raises
    ------
    ExportError
        Naming the op, the line of the user's code, and the reason.
    """
    return _Translator(entry, exported, names).run()


class _Translator:
    def __init__(self, entry: str, exported: ExportedProgram, names: Sequence[str]) -> None:
        self.entry = entry
        self.exported = exported
        self.constants: dict[str, Tensor] = {}
        self.references: dict[fx.Node, str] = {}
        self.tuples: dict[fx.Node, dict[int, str]] = {}
        self.nodes: list[Node] = []
        self.counter = 0
        self._bind_inputs(list(names))

    def _bind_inputs(self, names: list[str]) -> None:
        placeholders = [n for n in self.exported.graph.nodes if n.op == "placeholder"]
        specs = self.exported.graph_signature.input_specs
        for node, spec in zip(placeholders, specs, strict=True):
            target = spec.target or ""
            if spec.kind is InputKind.USER_INPUT:
                self.references[node] = f"%i.{names.pop(0)}"
                self._bind_sizes(node)
            elif spec.kind is InputKind.PARAMETER or (
                spec.kind is InputKind.BUFFER and target.startswith(_MODULE)
            ):
                if not target.startswith(_MODULE):
                    raise ExportError(target, "the loss has parameters of its own; only the"
                                              " module may have some")  # fmt: skip
                self.references[node] = f"%p.{target.removeprefix(_MODULE)}"
            else:
                self.references[node] = self._constant(target)

    def _bind_sizes(self, node: fx.Node) -> None:
        for extent in node.meta["val"].shape:
            if isinstance(extent, torch.SymInt):
                self.batch = str(extent.node.expr)

    def _constant(self, target: str) -> str:
        value = self.exported.constants.get(target)
        if value is None:
            value = self.exported.state_dict.get(target)
        if not isinstance(value, Tensor):
            raise ExportError(target, "only tensors can be carried along as constants")
        # By name, not by count: both graphs share the file.
        name = "k_" + re.sub(r"[^A-Za-z0-9_.]", "_", target)
        self.constants[name] = value.detach().clone()
        return f"%c.{name}"

    def run(self) -> tuple[Graph, dict[str, Tensor]]:
        outputs: dict[str, str] = {}
        updates: dict[str, str] = {}
        for node in self.exported.graph.nodes:
            if node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                self._results(node, outputs, updates)
            elif node.op != "placeholder":
                raise self._error(
                    node,
                    f"{node.op} cannot be exported: a program has no control flow"
                    " (torch.cond, while_loop); use torch.where",
                )
        return Graph(nodes=self.nodes, outputs=outputs, updates=updates), self.constants

    def _results(self, node: fx.Node, outputs: dict[str, str], updates: dict[str, str]) -> None:
        names = ["loss", "predictions"]
        specs = self.exported.graph_signature.output_specs
        for value, spec in zip(node.args[0], specs, strict=True):  # type: ignore[arg-type]
            reference = str(self._value(node, value))
            if spec.kind is OutputKind.USER_OUTPUT:
                outputs[names.pop(0)] = reference
            elif spec.kind is OutputKind.BUFFER_MUTATION and spec.target is not None:
                updates[spec.target.removeprefix(_MODULE)] = reference
            else:
                raise ExportError(
                    self.entry, f"the module writes to {spec.target!r} ({spec.kind.name})"
                )

    def _call(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            source, index = node.args
            self.references[node] = self.tuples[source][index]  # type: ignore[index]
            return
        op = _SAFE.get(str(node.target), str(node.target))
        if op == "aten.sym_size.int" or isinstance(node.meta.get("val"), torch.SymInt):
            return  # A named size; it is resolved where it is used.
        if op in _IDENTITIES:
            self.references[node] = str(self._value(node, node.args[0]))
            return
        if op not in OPS:
            raise self._error(
                node,
                f"op {op} is not allowed in a program (propius.program.ops lists what is)",
            )
        inputs = [self._argument(node, arg) for arg in node.args]
        if op in _SHAPED:
            inputs[1] = _with_one_inferred(inputs[1])
        keywords = {
            name: self._argument(node, value)
            for name, value in node.kwargs.items()
            if name not in _DROPPED and value is not None
        }
        outputs = self._names(node, op)
        self._refuse_expressions(node, [*inputs, *keywords.values()])
        self.nodes.append(Node(op=op, inputs=inputs, outputs=outputs, keywords=keywords))

    def _names(self, node: fx.Node, op: str) -> list[str | None]:
        if OPS[op].outputs == 1:
            name = self._fresh()
            self.references[node] = f"%{name}"
            return [name]
        # A node of several results is read through getitem only; others' results are dropped.
        used = {int(user.args[1]) for user in node.users}  # type: ignore[arg-type]
        count = OPS[op].outputs or len(node.meta["val"])
        names = [self._fresh() if index in used else None for index in range(count)]
        self.tuples[node] = {i: f"%{name}" for i, name in enumerate(names) if name is not None}
        return names

    def _fresh(self) -> str:
        self.counter += 1
        return f"v{self.counter - 1}"

    def _argument(self, node: fx.Node, value: Any) -> Argument:
        if isinstance(value, (list, tuple)):
            return [self._value(node, item) for item in value]
        return self._value(node, value)

    def _value(self, node: fx.Node, value: Any) -> str | int | float | bool | None:
        if isinstance(value, fx.Node):
            return self.references[value] if value in self.references else self._size(value)
        if isinstance(value, float) and math.isinf(value):
            return "#inf" if value > 0 else "#-inf"
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            return f"={value}"
        if isinstance(value, torch.dtype) and value in _CODES:
            return f"!{_CODES[value]}"
        if isinstance(value, torch.memory_format):
            return _FORMATS.get(value, "=preserve_format")
        raise self._error(node, f"argument {value!r} cannot be exported")

    def _size(self, value: fx.Node) -> str:
        expression = str(value.meta["val"].node.expr)
        return "$batch" if expression == self.batch else f"?{expression}"

    def _refuse_expressions(self, node: fx.Node, arguments: list[Argument]) -> None:
        for argument in arguments:
            for item in argument if isinstance(argument, list) else [argument]:
                if isinstance(item, str) and item[0] == "?":
                    raise self._error(
                        node,
                        f"{node.target} needs the computed size {item[1:]}; sizes are numbers or"
                        " the batch size: use -1 or flatten(1)",
                    )

    def _error(self, node: fx.Node, message: str) -> ExportError:
        trace = (node.stack_trace or "").strip().splitlines()
        at = f" (at: {' '.join(line.strip() for line in trace[-2:])})" if trace else ""
        return ExportError(f"{self.entry}.{node.name}", message + at)


def _with_one_inferred(shape: Argument) -> Argument:
    """A view may leave one size open: that replaces one computed size, such as batch × time."""
    if isinstance(shape, list) and -1 not in shape:
        computed = [i for i, item in enumerate(shape) if isinstance(item, str) and item[0] == "?"]
        if len(computed) == 1:
            return [-1 if index == computed[0] else item for index, item in enumerate(shape)]
    return shape
