"""Rules of a graph that types cannot say: allowed ops, order, references, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from propius.program.errors import GraphError, OpNotAllowed
from propius.program.ops import OPS, Op
from propius.program.schema import ELEMENTS_MAX, Argument, Graph, Manifest, Node
from propius.tensors import ITEM_BYTES

WORDS = frozenset(
    {"=tanh", "=none", "=same", "=valid", "=floor", "=trunc", "=contiguous_format",
     "=preserve_format", "=channels_last"}
)  # fmt: skip
INFINITIES = frozenset({"#inf", "#-inf"})


def check_manifest(manifest: Manifest) -> None:
    """Refuse names given twice, sizes that are not declared, and tensors that are too large."""
    for kind, names in (
        ("parameters", [p.name for p in manifest.parameters]),
        ("inputs", [i.name for i in manifest.inputs]),
    ):
        before: set[str] = set()
        for index, name in enumerate(names):
            if name in before:
                raise GraphError(f"manifest.json.{kind}[{index}].name", f"{name!r} stands twice")
            before.add(name)
    for name, size in manifest.sizes.items():
        if size.min > size.max:
            raise GraphError(f"manifest.json.sizes.{name}", f"min {size.min} > max {size.max}")
    for index, parameter in enumerate(manifest.parameters):
        _check_elements(f"manifest.json.parameters[{index}].shape", parameter.shape)
        if parameter.rule == "mean" and not parameter.dtype.startswith("F"):
            raise GraphError(
                f"manifest.json.parameters[{index}].rule",
                f"{parameter.name!r} is {parameter.dtype}; only F64, F32 and F16 can be averaged,"
                " others need the rule 'server'",
            )
    for index, entry in enumerate(manifest.inputs):
        field = f"manifest.json.inputs[{index}].shape"
        for extent in entry.shape:
            if isinstance(extent, str) and extent not in manifest.sizes:
                raise GraphError(field, _unknown_size(extent, manifest))
        # The least that there can be: a named size may be declared large as well.
        _check_elements(field, [_least(extent, manifest) for extent in entry.shape])
    _check_metrics(manifest)


def _least(extent: int | str, manifest: Manifest) -> int:
    return extent if isinstance(extent, int) else manifest.sizes[extent].min


def _check_metrics(manifest: Manifest) -> None:
    inputs = [entry.name for entry in manifest.inputs]
    for index, metric in enumerate(manifest.metrics):
        if metric.target not in inputs:
            raise GraphError(
                f"manifest.json.metrics[{index}].target",
                f"no input {metric.target!r}; allowed: {', '.join(inputs)}",
            )


def _check_elements(field: str, shape: list[int]) -> None:
    if prod(shape) > ELEMENTS_MAX:
        raise GraphError(field, f"{prod(shape)} elements; at most {ELEMENTS_MAX} are allowed")


def check_graph(entry: str, graph: Graph, manifest: Manifest, constants: frozenset[str]) -> None:
    """Check one graph against its manifest; ``entry`` (``train.json``) stands in messages.

    Raises
    ------
    GraphError
        With the node and the argument. Complexity: linear in arguments.
    """
    known = {f"%p.{parameter.name}" for parameter in manifest.parameters}
    known |= {f"%i.{item.name}" for item in manifest.inputs}
    known |= {f"%c.{name}" for name in constants}
    for index, node in enumerate(graph.nodes):
        field = f"{entry}.nodes[{index}]"
        op = _check_op(field, node)
        for where, argument in _arguments(node):
            _check_argument(f"{field}.{where}", argument, known, manifest)
        if op.shape is not None:
            _check_created(f"{field}.inputs[{op.shape}]", node, op.shape, manifest)
        for name in node.outputs:
            if name is not None and f"%{name}" in known:
                raise GraphError(f"{field}.outputs", f"{name!r} is defined already")
            known.add(f"%{name}")
    known.discard("%None")
    _check_results(entry, graph, manifest, known)


def _check_op(field: str, node: Node) -> Op:
    op = OPS.get(node.op)
    if op is None:
        raise OpNotAllowed(
            f"{field}.op",
            f"op {node.op!r} is not allowed; allowed are {len(OPS)} ATen ops that write nothing"
            " in place, such as aten.linear.default (propius.program.ops lists them)",
        )
    if op.outputs is not None and len(node.outputs) != op.outputs:
        raise GraphError(
            f"{field}.outputs", f"{node.op} has {op.outputs} results, not {len(node.outputs)}"
        )
    for keyword in node.keywords:
        if keyword not in op.keywords:
            raise GraphError(
                f"{field}.keywords",
                f"{node.op} takes no keyword {keyword!r};"
                f" allowed: {', '.join(sorted(op.keywords)) or 'none'}",
            )
    return op


def _arguments(node: Node) -> Iterator[tuple[str, Argument]]:
    for index, argument in enumerate(node.inputs):
        yield f"inputs[{index}]", argument
    for name, argument in node.keywords.items():
        yield f"keywords.{name}", argument


def _check_argument(field: str, argument: Argument, known: set[str], manifest: Manifest) -> None:
    for value in argument if isinstance(argument, list) else [argument]:
        if isinstance(value, str):
            _check_word(field, value, known, manifest)


def _check_word(field: str, value: str, known: set[str], manifest: Manifest) -> None:
    mark = value[:1]
    if mark == "%":
        if value not in known:
            raise GraphError(
                field, f"{value!r} is not defined before this node (nodes stand in running order)"
            )
    elif mark == "$":
        if value[1:] not in manifest.sizes:
            raise GraphError(field, _unknown_size(value[1:], manifest))
    elif mark == "!":
        if value[1:] not in ITEM_BYTES:
            raise GraphError(field, f"no dtype {value!r}; allowed: {', '.join(ITEM_BYTES)}")
    elif value not in WORDS and value not in INFINITIES:
        raise GraphError(
            field,
            f"{value!r} is no argument; allowed are %value, $size, !dtype, numbers and the words"
            f" {', '.join(sorted(WORDS | INFINITIES))}; there are no expressions",
        )


def _unknown_size(name: str, manifest: Manifest) -> str:
    declared = ", ".join(sorted(manifest.sizes)) or "none"
    return f"{name!r} is no declared size (declared: {declared}); there are no expressions"


def _check_created(field: str, node: Node, position: int, manifest: Manifest) -> None:
    if position < len(node.inputs):
        shape = node.inputs[position]
        extents = shape if isinstance(shape, list) else [shape]
        least = [
            _least(e[1:] if isinstance(e, str) else e, manifest)
            for e in extents
            if isinstance(e, int) or (isinstance(e, str) and e[:1] == "$")
        ]
        _check_elements(field, [extent for extent in least if extent > 0])


def _check_results(entry: str, graph: Graph, manifest: Manifest, known: set[str]) -> None:
    for part, references in (("outputs", graph.outputs), ("updates", graph.updates)):
        for name, reference in references.items():
            if reference not in known:
                raise GraphError(f"{entry}.{part}.{name}", f"{reference!r} is not defined")
    if manifest.loss not in graph.outputs:
        raise GraphError(f"{entry}.outputs", f"the loss {manifest.loss!r} is missing")
    for metric in manifest.metrics:
        if metric.output not in graph.outputs:
            raise GraphError(f"{entry}.outputs", f"{metric.output!r}, of a metric, is missing")
    buffers = {p.name for p in manifest.parameters if not p.trainable}
    for name in graph.updates:
        if name not in buffers:
            raise GraphError(
                f"{entry}.updates.{name}", "only parameters that are not trainable are updated"
            )
