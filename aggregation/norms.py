"""How far an update moves the model, measured before it is accepted: numpy, in flat memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from propius import codec as codecs
from propius.arrays import NUMPY_DTYPES
from propius.encodings import INDEX, SCALE, channels
from propius.tensors import ITEM_BYTES, TensorError, TensorInfo, header_of, opened

CHUNK_ITEMS = 1 << 18
Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bound:
    """The largest L2 norm of a change that is accepted, and the version that it is a change of."""

    norm: float
    base: Path


def check(update: Path, bound: Bound, *, codec: str, tensors: Mapping[str, TensorInfo]) -> None:
    """Raise TensorError (``norm_exceeded``) if an update moves the model further than ``bound``."""
    norm = of_change(update, bound.base, codec=codec, tensors=tensors)
    if norm > bound.norm:
        raise TensorError(
            "norm_exceeded",
            "norm",
            f"the L2 norm of the update's change is {norm:.6g}; at most {bound.norm:g} is allowed",
        )


def of_change(update: Path, base: Path, *, codec: str, tensors: Mapping[str, TensorInfo]) -> float:
    """Return ‖update − base‖₂ over all averaged tensors together.

    Parameters
    ----------
    update
        A file that fits ``tensors`` as ``codec`` writes them.
    base
        The version that its device began from.
    codec
        The update's.
    tensors
        The averaged tensors of the model.
    """
    is_difference = codecs.get(codec).difference
    total = 0.0
    with ExitStack() as stack:
        sent = _File(stack.enter_context(opened(update)))
        start = None if is_difference else _File(stack.enter_context(opened(base)))
        for name, info in tensors.items():
            # Of a sparse tensor only the values: what is left out has not changed.
            size = prod(sent.header[name].shape if name + INDEX in sent.header else info.shape)
            for begin in range(0, size, CHUNK_ITEMS):
                part = slice(begin, min(begin + CHUNK_ITEMS, size))
                change = sent.values(name, part)
                if start is not None:
                    change -= start.values(name, part)
                total += float(np.dot(change, change))
    return sqrt(total)


class _File:
    def __init__(self, data: Any) -> None:
        self._data = data
        self.header = header_of(data)

    def values(self, name: str, part: slice) -> Wide:
        """Return elements of a tensor, decoded, in float64: no square of a float32 overflows it."""
        info = self.header[name]
        raw = self._elements(info, part)
        if name + SCALE not in self.header:
            return raw
        scales = self.header[name + SCALE]
        row = prod(info.shape) // max(1, channels(info.shape))
        factors = self._elements(scales, slice(0, prod(scales.shape)))
        scaled: Wide = raw * factors[np.arange(part.start, part.stop) // max(1, row)]
        return scaled

    def _elements(self, info: TensorInfo, part: slice) -> Wide:
        width = ITEM_BYTES[info.dtype]
        # Sliced, not viewed: a tensor may start at an odd byte, and no view may outlive the map.
        data = self._data[info.begin + part.start * width : info.begin + part.stop * width]
        if info.dtype == "BF16":
            bits = np.frombuffer(data, "<u2").astype("<u4") << 16
            return bits.view("<f4").astype(np.float64)
        return np.frombuffer(data, NUMPY_DTYPES[info.dtype]).astype(np.float64)
