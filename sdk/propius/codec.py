"""How an update's floats travel: one registry of codecs.

An update is a safetensors file. A codec says which tensors stand in it for each float tensor of
the model; integer tensors are never touched. A *difference* codec sends what training changed,
``update − base``, which is smaller and loses less. To add one, write a class with the members of
:class:`Codec` in :mod:`propius.encodings`, name it in ``CODECS``, and give the server its reader in
``aggregation/decoding.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from propius.arrays import NUMPY_DTYPES, Array
from propius.encodings import INDEX, SCALE, Cast, Int8, TopK
from propius.tensors import TensorError, TensorInfo, header_of, opened

FLOATS = ("F64", "F32", "F16", "BF16")


class Codec(Protocol):
    """One way to write the float tensors of an update."""

    name: str
    difference: bool
    """Whether ``update − base`` travels."""
    remembers: bool
    """Whether the device keeps what was left out, and adds it to its next update."""

    def wire(self, name: str, info: TensorInfo) -> dict[str, TensorInfo]:
        """The tensors that travel for the model's tensor ``name``."""

    def encode(self, name: str, array: Array) -> dict[str, Array]:
        """The tensor ``name`` as it travels."""

    def decode(self, name: str, wire: Mapping[str, Array], info: TensorInfo) -> Array:
        """The tensor ``name`` back, in float32 (float64 if the model's is)."""

    def check(self, name: str, info: TensorInfo, wire: Mapping[str, Array]) -> None:
        """Raise TensorError for values that no device's encoder writes."""


CODECS: Mapping[str, Codec] = {
    codec.name: codec
    for codec in (
        Cast("fp32", None),
        Cast("fp16", "F16"),
        Cast("bf16", "BF16"),
        Int8("int8"),
        Cast("delta-fp16", "F16", difference=True),
        Cast("delta-bf16", "BF16", difference=True),
        Int8("delta-int8", difference=True),
        TopK("topk1", 0.01),
        TopK("topk10", 0.1),
    )
}


def get(name: str) -> Codec:
    """The codec of this name.

    Raises
    ------
    TensorError
        Code ``unknown_codec``, with the names there are.
    """
    if name not in CODECS:
        raise TensorError(
            "unknown_codec", "codec", f"no codec {name!r}; allowed: {', '.join(CODECS)}"
        )
    return CODECS[name]


def encode(tensors: Mapping[str, Array], *, codec: str) -> dict[str, Array]:
    """Tensors as they travel, by name; for a difference codec, ``tensors`` are differences.

    Raises
    ------
    TensorError
        If a finite value does not fit the codec's dtype, or there is no such codec.

    Examples
    --------
    >>> encode({"w": np.ones(2, np.float32)}, codec="fp16")["w"].dtype
    dtype('float16')
    """
    chosen = get(codec)
    result: dict[str, Array] = {}
    for name, array in tensors.items():
        result |= chosen.encode(name, array) if array.dtype.kind == "f" else {name: array}
    return result


def decode(
    sent: Mapping[str, Array], *, codec: str, expected: Mapping[str, TensorInfo]
) -> dict[str, Array]:
    """Tensors back, by the model's names, in float32 (float64 where the model's are).

    For a difference codec, these are differences.
    """
    chosen = get(codec)
    return {
        name: chosen.decode(name, sent, info) if info.dtype in FLOATS else sent[name]
        for name, info in expected.items()
    }


def on_the_wire(expected: Mapping[str, TensorInfo], *, codec: str) -> dict[str, TensorInfo]:
    """What an update's header must be, given the model's: input for ``tensors.check_matches``.

    Raises
    ------
    TensorError
        Code ``name_taken`` if a model has a tensor with a codec's own name.
    """
    chosen = get(codec)
    result: dict[str, TensorInfo] = {}
    for name, info in expected.items():
        wire = chosen.wire(name, info) if info.dtype in FLOATS else {name: info}
        taken = next(
            (one for one in wire if one in result or (one != name and one in expected)), ""
        )
        if taken:
            raise TensorError(
                "name_taken", f"tensors.{taken}", f"codec {codec} needs the name {taken!r} itself"
            )
        result |= wire
    return result


def recognised(
    header: Mapping[str, TensorInfo], expected: Mapping[str, TensorInfo], *, among: Sequence[str]
) -> str:
    """The codec that an update is written in, told by its tensors; the first if it is in none.

    ``expected`` are the model's. The codecs must all send differences, or none of them.

    Examples
    --------
    >>> model = {"w": TensorInfo("F32", (2,))}
    >>> recognised({"w": TensorInfo("F16", (2,))}, model, among=["fp32", "fp16"])
    'fp16'
    """
    found = {name: (info.dtype, info.shape) for name, info in header.items()}
    for codec in among:
        wanted = on_the_wire(expected, codec=codec)
        if found == {name: (info.dtype, info.shape) for name, info in wanted.items()}:
            return codec
    return among[0]


def check_values(
    source: str | Path | bytes, *, codec: str, expected: Mapping[str, TensorInfo]
) -> None:
    """Check what the codec itself put into a file whose header and finiteness are checked.

    Raises
    ------
    TensorError
        Naming the tensor.
    """
    chosen = get(codec)
    with opened(source) as data:
        header = header_of(data)
        for name, info in expected.items():
            own = [one for one in (name + SCALE, name + INDEX) if one in chosen.wire(name, info)]
            if own:
                read = {one: _read(data, header[one]) for one in own}
                chosen.check(name, info, read)


def _read(data: Any, info: TensorInfo) -> Array:
    # Sliced, not viewed: no view may outlive the mmap.
    return np.frombuffer(data[info.begin : info.end], NUMPY_DTYPES[info.dtype])
