"""How an update's floats travel: one registry of codecs, each a cast of whole tensors.

An update is a safetensors file. A codec says which dtype each tensor has in that file; shapes
and names stay, and integer tensors are never touched. To add one, write a class with the four
members of :class:`Codec` and name it in ``CODECS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from propius.arrays import NUMPY_DTYPES, Array
from propius.tensors import TensorError, TensorInfo

# Large casts go in pieces that stay in the cache; one pass over the array would be bound by memory.
_CHUNK_ITEMS = 1 << 16
FLOATS = ("F64", "F32", "F16", "BF16")


class Codec(Protocol):
    """One way to write the tensors of an update."""

    name: str

    def wire_dtype(self, dtype: str) -> str:
        """The dtype on the wire of a tensor whose dtype in the model is ``dtype``."""

    def encode(self, name: str, array: Array) -> Array:
        """The tensor ``name`` as it travels."""

    def decode(self, name: str, array: Array, dtype: str) -> Array:
        """The tensor ``name`` back in ``dtype``, the model's."""


class _Cast:
    """Casts every wider float to one dtype; without a target, all tensors travel as they are."""

    def __init__(self, name: str, target: str | None) -> None:
        self.name = name
        self._target = target

    def wire_dtype(self, dtype: str) -> str:
        wider = self._target is not None and dtype in ("F64", "F32")
        return self._target if wider and self._target else dtype

    def encode(self, name: str, array: Array) -> Array:
        target = self._target and NUMPY_DTYPES[self._target]
        if not target or array.dtype.kind != "f" or array.dtype.itemsize <= target.itemsize:
            return array
        largest = float(np.finfo(target).max)
        result = _cast(array, target)
        if not np.isfinite(result).all() and np.isfinite(array).all():
            raise TensorError(
                "out_of_range",
                f"tensors.{name}",
                f"tensor {name!r} reaches {float(np.abs(array).max()):g}, and codec {self.name}"
                f" holds at most {largest:g}; use codec fp32",
            )
        return result

    def decode(self, name: str, array: Array, dtype: str) -> Array:
        return _cast(array, NUMPY_DTYPES[dtype])


def _cast(array: Array, target: np.dtype[Any]) -> Array:
    if array.dtype == target:
        return array
    flat = np.ascontiguousarray(array).reshape(-1)
    result = np.empty(flat.shape, dtype=target)
    with np.errstate(over="ignore"):
        for start in range(0, flat.size, _CHUNK_ITEMS):
            result[start : start + _CHUNK_ITEMS] = flat[start : start + _CHUNK_ITEMS]
    return result.reshape(array.shape)


CODECS: Mapping[str, Codec] = {
    codec.name: codec for codec in (_Cast("fp32", None), _Cast("fp16", "F16"))
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
    """Tensors as they travel, by name.

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
    return {name: chosen.encode(name, array) for name, array in tensors.items()}


def decode(
    tensors: Mapping[str, Array], *, codec: str, dtypes: Mapping[str, str]
) -> dict[str, Array]:
    """Tensors back in the model's dtypes (``{"fc.weight": "F32", …}``)."""
    chosen = get(codec)
    return {name: chosen.decode(name, array, dtypes[name]) for name, array in tensors.items()}


def on_the_wire(expected: Mapping[str, TensorInfo], *, codec: str) -> dict[str, TensorInfo]:
    """What an update's header must be, given the model's: input for ``tensors.check_matches``."""
    chosen = get(codec)
    return {
        name: replace(info, dtype=chosen.wire_dtype(info.dtype)) for name, info in expected.items()
    }
