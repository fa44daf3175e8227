"""The ways in which :mod:`propius.codec` writes one tensor, in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from propius.arrays import BF16, NUMPY_DTYPES, Array
from propius.tensors import TensorError, TensorInfo

# Large casts go in pieces that stay in the cache; one pass over the array would be bound by memory.
_CHUNK_ITEMS = 1 << 16
SCALE, INDEX = "@scale", "@index"
_SCALE_MAX = float(np.finfo(np.float32).max) / 128


class Cast:
    """Casts every wider float to one dtype; without a target, all tensors travel as they are."""

    remembers = False

    def __init__(self, name: str, target: str | None, *, difference: bool = False) -> None:
        self.name = name
        self.difference = difference
        self._target = target

    def wire(self, name: str, info: TensorInfo) -> dict[str, TensorInfo]:
        # Differences are float32 or wider, whatever the model is.
        wider = self._target is not None and (info.dtype in ("F64", "F32") or self.difference)
        return {name: TensorInfo(str(self._target) if wider else info.dtype, info.shape)}

    def encode(self, name: str, array: Array) -> dict[str, Array]:
        if self._target is None or array.dtype.itemsize <= 2:
            return {name: array}
        if self._target == "BF16":
            return {name: self._checked(name, array, _to_bf16(array))}
        return {name: self._checked(name, array, _cast(array, NUMPY_DTYPES[self._target]))}

    def decode(self, name: str, wire: Mapping[str, Array], info: TensorInfo) -> Array:
        array = wire[name]
        if array.dtype == BF16:
            array = (array.view("<u2").astype("<u4") << 16).view("<f4").reshape(array.shape)
        return _cast(array, _wide(info))

    def check(self, name: str, info: TensorInfo, wire: Mapping[str, Array]) -> None:
        """A cast has no values of its own."""

    def _checked(self, name: str, array: Array, result: Array) -> Array:
        bits = result.view("<u2")
        exponent = 0x7F80 if result.dtype == BF16 else 0x7C00
        if not ((bits & exponent) == exponent).any() or not np.isfinite(array).all():
            return result
        largest = 3.38953e38 if result.dtype == BF16 else float(np.finfo(result.dtype).max)
        raise TensorError(
            "out_of_range",
            f"tensors.{name}",
            f"tensor {name!r} reaches {float(np.abs(array).max()):g}, and codec {self.name}"
            f" holds at most {largest:g}; use codec fp32",
        )


class Int8:
    """Signed bytes with one scale for each index of the first axis (one in all up to 1-D).

    scale = max|x|/127, q = round(x/scale): no element is off by more than scale/2.
    """

    remembers = False

    def __init__(self, name: str, *, difference: bool = False) -> None:
        self.name = name
        self.difference = difference

    def wire(self, name: str, info: TensorInfo) -> dict[str, TensorInfo]:
        scales = TensorInfo("F32", (channels(info.shape),))
        return {name: TensorInfo("I8", info.shape), name + SCALE: scales}

    def encode(self, name: str, array: Array) -> dict[str, Array]:
        rows = array.astype(_wide_of(array), copy=False).reshape(_rows(array.shape))
        largest = np.abs(rows).max(axis=1, initial=0)
        if np.isfinite(largest).all() and largest.max(initial=0) / 127 > _SCALE_MAX:
            raise TensorError(
                "out_of_range",
                f"tensors.{name}",
                f"tensor {name!r} reaches {float(largest.max()):g}, and codec {self.name}"
                f" holds at most {_SCALE_MAX * 127:g}",
            )
        scales = (largest / 127).astype(np.float32)
        shares = rows / np.where(scales > 0, scales, np.float32(np.inf))[:, None]
        values = np.clip(np.rint(shares, out=shares), -127, 127, out=shares).astype(np.int8)
        return {name: values.reshape(array.shape), name + SCALE: scales}

    def decode(self, name: str, wire: Mapping[str, Array], info: TensorInfo) -> Array:
        rows = wire[name].reshape(_rows(info.shape)).astype(_wide(info))
        return (rows * wire[name + SCALE][:, None]).reshape(info.shape).astype(_wide(info))

    def check(self, name: str, info: TensorInfo, wire: Mapping[str, Array]) -> None:
        scales = wire[name + SCALE]
        if not ((scales >= 0) & (scales <= _SCALE_MAX)).all():
            raise TensorError(
                "out_of_range",
                f"tensors.{name + SCALE}",
                f"the scales of {name!r} must be from 0 to {_SCALE_MAX:g}",
            )


class TopK:
    """The ``share`` of elements that changed most, as sorted indices and values.

    What is left out is not lost: the device adds it to its next update (error feedback, Stich et
    al., *Sparsified SGD with Memory*, 2018, algorithm 1, arXiv 1809.07599).
    """

    difference = True
    remembers = True

    def __init__(self, name: str, share: float) -> None:
        self.name = name
        self._share = share

    def wire(self, name: str, info: TensorInfo) -> dict[str, TensorInfo]:
        size = prod(info.shape)
        shape = (self._kept(size),)
        index = "I32" if size < 1 << 31 else "I64"
        return {name: TensorInfo("F32", shape), name + INDEX: TensorInfo(index, shape)}

    def encode(self, name: str, array: Array) -> dict[str, Array]:
        flat = np.ascontiguousarray(array).reshape(-1)
        kept = self._kept(flat.size)
        found: Any = (
            np.argpartition(np.abs(flat), flat.size - kept)[flat.size - kept :] if kept else []
        )
        index = np.sort(np.asarray(found, np.int64))
        code = self.wire(name, TensorInfo("F32", array.shape))[name + INDEX].dtype
        with np.errstate(over="ignore"):
            values = flat[index].astype(np.float32)
        return {name: values, name + INDEX: index.astype(NUMPY_DTYPES[code])}

    def decode(self, name: str, wire: Mapping[str, Array], info: TensorInfo) -> Array:
        flat = np.zeros(prod(info.shape), _wide(info))
        flat[wire[name + INDEX]] = wire[name]
        return flat.reshape(info.shape)

    def check(self, name: str, info: TensorInfo, wire: Mapping[str, Array]) -> None:
        index, size = wire[name + INDEX], prod(info.shape)
        if len(index) and not (index[0] >= 0 and index[-1] < size and (np.diff(index) > 0).all()):
            raise TensorError(
                "bad_index",
                f"tensors.{name + INDEX}",
                f"the indices of {name!r} must rise from at least 0 to below {size}, each once",
            )

    def _kept(self, size: int) -> int:
        return min(size, max(1, round(size * self._share)))


def channels(shape: tuple[int, ...]) -> int:
    """How many scales an int8 tensor of this shape has."""
    return shape[0] if len(shape) >= 2 else 1


def _rows(shape: tuple[int, ...]) -> tuple[int, int]:
    count = channels(shape)
    return count, prod(shape) // max(1, count)


def _wide(info: TensorInfo) -> np.dtype[Any]:
    return NUMPY_DTYPES["F64" if info.dtype == "F64" else "F32"]


def _wide_of(array: Array) -> np.dtype[Any]:
    return NUMPY_DTYPES["F64" if array.dtype.itemsize == 8 else "F32"]


def _cast(array: Array, target: np.dtype[Any]) -> Array:
    if array.dtype == target:
        return array
    flat = np.ascontiguousarray(array).reshape(-1)
    result = np.empty(flat.shape, dtype=target)
    with np.errstate(over="ignore"):
        for start in range(0, flat.size, _CHUNK_ITEMS):
            result[start : start + _CHUNK_ITEMS] = flat[start : start + _CHUNK_ITEMS]
    return result.reshape(array.shape)


def _to_bf16(array: Array) -> Array:
    """Round to the nearest, ties to even, as the hardware does."""
    flat = np.ascontiguousarray(array).reshape(-1)
    result = np.empty(flat.shape, dtype="<u2")
    with np.errstate(over="ignore"):
        for start in range(0, flat.size, _CHUNK_ITEMS):
            piece = slice(start, start + _CHUNK_ITEMS)
            bits = flat[piece].astype("<f4").view("<u4")
            result[piece] = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return result.view(BF16).reshape(array.shape)
