"""Floats judged by the bits of their exponents: no conversion, and bfloat16 needs no torch."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from typing import Any

import numpy as np

EXPONENT: Mapping[str, tuple[np.dtype[Any], int, int]] = {
    "F64": (np.dtype("<u8"), 11, 52),
    "F32": (np.dtype("<u4"), 8, 23),
    "F16": (np.dtype("<u2"), 5, 10),
    "BF16": (np.dtype("<u2"), 8, 7),
}
"""Of each float dtype its bits' dtype, how many of them are the exponent, how many stand below."""
_CHUNK_ITEMS = 1 << 18


def first_not_finite(data: mmap.mmap | bytes, dtype: str, begin: int, end: int) -> int | None:
    """Return the index of the first infinite or NaN element between two bytes, if any.

    A float is infinite or NaN exactly when every bit of its exponent is set.
    """
    return _first(data, dtype, begin, end, (1 << EXPONENT[dtype][1]) - 1)


def first_from(
    data: mmap.mmap | bytes, dtype: str, begin: int, end: int, *, exponent: int
) -> int | None:
    """Return the index of the first element of 2^exponent or more, of either sign, if any.

    Infinite and NaN ones are among them, also where no finite one is that large.
    """
    every_bit = (1 << EXPONENT[dtype][1]) - 1
    return _first(data, dtype, begin, end, min(every_bit, every_bit // 2 + exponent))


def _first(data: mmap.mmap | bytes, dtype: str, begin: int, end: int, exponent: int) -> int | None:
    kind, width, below = EXPONENT[dtype]
    sign, least = 1 << (width + below), exponent << below
    signed = np.dtype(f"<i{kind.itemsize}")
    step = _CHUNK_ITEMS * kind.itemsize
    for start in range(begin, end, step):
        # Sliced, not viewed: a tensor may start at an odd byte, and no view may outlive the mmap.
        found = np.frombuffer(data[start : min(start + step, end)], dtype=kind)
        # As integers, floats of one sign are in order: two maxima are five times faster than a
        # look at each element, which only tells where it is.
        if int(found.view(signed).max()) >= least or int(found.max()) >= sign + least:
            bad = (found & kind.type(sign - 1)) >= kind.type(least)
            return (start - begin) // kind.itemsize + int(bad.argmax())
    return None
