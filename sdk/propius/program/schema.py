"""The JSON inside a program, as strict types: unknown fields and other types are refused.

In a node's arguments a string is always marked by its first character: ``%p.fc.weight`` a
parameter, ``%i.x`` an input, ``%c.c0`` a constant, ``%v7`` an earlier node's result; ``$batch`` a
named size; ``!F32`` a dtype; ``=tanh`` a word; ``#inf``, ``#-inf`` the numbers that JSON has not.
A size is a whole number or a name: there are no expressions.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FORMAT = 1
NODES_MAX = 20_000
# Above any model that trains on a device, below what overflows a sum of sizes.
ELEMENTS_MAX = 1 << 31
_WORD = "[A-Za-z0-9_][A-Za-z0-9_.]{0,199}"

Name = Annotated[str, Meta(pattern=rf"^{_WORD}\Z")]
SizeName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
Extent = Annotated[int, Meta(ge=0, le=ELEMENTS_MAX)]
Reference = Annotated[str, Meta(pattern=rf"^%(v[0-9]{{1,6}}|[pic]\.{_WORD})\Z")]
Result = Annotated[str, Meta(pattern=r"^v[0-9]{1,6}\Z")]
Dtype = Literal["F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL"]
Word = Annotated[str, Meta(max_length=210)]
Number = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
Scalar = Word | Number | float | bool | None
Argument = Word | Number | float | bool | None | Annotated[list[Scalar], Meta(max_length=4096)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Parameter(_Strict, frozen=True):
    """One tensor of the model.

    ``rule`` says how updates become the next version: ``mean`` averages them, ``server`` keeps the
    server's (counters, frozen tensors).
    """

    name: Name
    dtype: Dtype
    shape: Annotated[list[Extent], Meta(max_length=16)]
    rule: Literal["mean", "server"]
    trainable: bool


class Input(_Strict, frozen=True):
    """One array of the device's data; a named size stands where the extent may vary."""

    name: Name
    dtype: Dtype
    shape: Annotated[list[Extent | SizeName], Meta(max_length=16)]


class Size(_Strict, frozen=True):
    """The range of a named size."""

    min: Annotated[int, Meta(ge=1, le=ELEMENTS_MAX)] = 1
    max: Annotated[int, Meta(ge=1, le=ELEMENTS_MAX)] = 65_536


class Metric(_Strict, frozen=True):
    """``accuracy``: the share of examples where the largest of ``output`` is at ``target``."""

    kind: Literal["accuracy"]
    output: Name
    target: Name


class Manifest(_Strict, frozen=True):
    """What a program needs and gives. ``loss`` names the output that training makes small."""

    format: Literal[1]
    sizes: Annotated[dict[SizeName, Size], Meta(max_length=16)]
    parameters: Annotated[list[Parameter], Meta(max_length=10_000)]
    inputs: Annotated[list[Input], Meta(min_length=1, max_length=64)]
    loss: Name
    metrics: Annotated[list[Metric], Meta(max_length=16)] = []


class Node(_Strict, frozen=True):
    """One op. ``outputs`` names its results; ``null`` is a result that nothing uses."""

    op: Word
    inputs: Annotated[list[Argument], Meta(max_length=64)]
    outputs: Annotated[list[Result | None], Meta(min_length=1, max_length=256)]
    keywords: Annotated[dict[str, Argument], Meta(max_length=16)] = {}


class Graph(_Strict, frozen=True):
    """Nodes in the order in which they run; named ``outputs``; ``updates`` of buffers."""

    nodes: Annotated[list[Node], Meta(max_length=NODES_MAX)]
    outputs: Annotated[dict[Name, Reference], Meta(min_length=1, max_length=64)]
    updates: Annotated[dict[Name, Reference], Meta(max_length=10_000)] = {}
