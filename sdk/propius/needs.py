"""What a job asks of a device's data set: arrays by name, with dtype, shape and classes.

In a job file::

    [workload.needs.x]
    dtype = "float32"
    shape = [1, 28, 28]     # of one example; 0 is any size
    [workload.needs.y]
    classes = 10            # integers from 0 to 9

A device whose data set does not fit declines, and names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

DType = Literal[
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"
]  # fmt: skip
Extents = Annotated[list[Annotated[int, Meta(ge=0, le=1 << 31)]], Meta(max_length=16)]


class ArrayNeed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One array, without its suffix ``_train`` or ``_val``; what is left out is not asked for."""

    dtype: DType | None = None
    shape: Extents | None = None
    classes: Annotated[int, Meta(ge=1, le=1 << 31)] | None = None


class ArrayInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One array that a device has. ``classes`` is one more than the largest of its integers."""

    dtype: str
    shape: list[int]
    classes: int | None = None


Name = Annotated[str, Meta(pattern=r"^[A-Za-z_]\w{0,59}(?!\n)$", max_length=60)]
Needs = Annotated[dict[Name, ArrayNeed], Meta(max_length=32)]


def mismatch(needs: Mapping[str, ArrayNeed], found: Mapping[str, ArrayInfo]) -> str | None:
    """Return the first field that does not fit, such as ``x.shape``, or ``None``.

    Examples
    --------
    >>> digits = {"x": ArrayInfo(dtype="float32", shape=[28, 28])}
    >>> mismatch({"x": ArrayNeed(shape=[784])}, digits)
    'x.shape'
    >>> mismatch({"x": ArrayNeed(shape=[28, 0])}, digits)
    """
    for name in sorted(needs):
        need, has = needs[name], found.get(name)
        if has is None:
            return name
        if need.dtype is not None and need.dtype != has.dtype:
            return f"{name}.dtype"
        if need.shape is not None and not _fits(need.shape, has.shape):
            return f"{name}.shape"
        if need.classes is not None and (has.classes is None or has.classes > need.classes):
            return f"{name}.classes"
    return None


def _fits(need: list[int], has: list[int]) -> bool:
    return len(need) == len(has) and all(
        want in (0, got) for want, got in zip(need, has, strict=True)
    )
