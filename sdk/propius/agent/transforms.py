"""What an owner may have done to a data set before it is used: a fixed list, no code.

In ``datasets.toml``, in the order in which they are done, each to both splits of an array::

    transforms = [
      { kind = "reshape", array = "x", shape = [1, 28, 28] },
      { kind = "cast", array = "x", dtype = "float32" },
      { kind = "normalise", array = "x", mean = 0.13, std = 0.31 },
      { kind = "one_hot", array = "y", classes = 10 },
    ]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from propius.needs import DType

if TYPE_CHECKING:
    # The agent reads these types; only the child that uses them shall carry numpy.
    from propius.arrays import Array

Number = Annotated[float, Meta(ge=-1e30, le=1e30)]
Positive = Annotated[float, Meta(gt=0, le=1e30)]


class TransformError(ValueError):
    """A transform that does not fit its array."""


class _Transform(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    array: str


class Normalise(_Transform, frozen=True, kw_only=True, tag="normalise"):
    """(value - mean) / std as float32; one number each, or one for each entry of the last axis."""

    mean: Number | list[Number] = 0.0
    std: Positive | list[Positive] = 1.0


class Clip(_Transform, frozen=True, kw_only=True, tag="clip"):
    """Values below ``min`` become ``min``, above ``max`` become ``max``."""

    min: Number
    max: Number


class OneHot(_Transform, frozen=True, kw_only=True, tag="one_hot"):
    """Integers from 0 to ``classes`` - 1 become rows of float32 with a single 1."""

    classes: Annotated[int, Meta(ge=2, le=100_000)]


class Cast(_Transform, frozen=True, kw_only=True, tag="cast"):
    """Another dtype."""

    dtype: DType


class Reshape(_Transform, frozen=True, kw_only=True, tag="reshape"):
    """Another shape of each example."""

    shape: list[Annotated[int, Meta(ge=1)]]


class Flatten(_Transform, frozen=True, kw_only=True, tag="flatten"):
    """Each example becomes a row."""


class Rename(_Transform, frozen=True, kw_only=True, tag="rename"):
    """The array gets another name."""

    to: str


Transform = Normalise | Clip | OneHot | Cast | Reshape | Flatten | Rename


def apply(transforms: Iterable[Transform], data: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays after all transforms, in order.

    Raises
    ------
    TransformError
        Names the transform, the array and what does not fit.
    """
    result = dict(data)
    for one in transforms:
        names = [f"{one.array}_{split}" for split in ("train", "val")]
        names = [name for name in names if name in result]
        if not names:
            raise TransformError(
                f"{_kind(one)}: there is no array {one.array!r}; there are {', '.join(result)}"
            )
        for name in names:
            try:
                made = _DOING[type(one)](one, result.pop(name))
            except (ValueError, IndexError, TypeError) as error:
                raise TransformError(f"{_kind(one)} of {one.array!r}: {error}") from error
            result[name.replace(one.array, one.to, 1) if isinstance(one, Rename) else name] = made
    return result


def _normalise(one: Normalise, array: Array) -> Array:
    import numpy as np

    mean, std = np.asarray(one.mean, np.float32), np.asarray(one.std, np.float32)
    return np.asarray((array.astype(np.float32) - mean) / std)


def _one_hot(one: OneHot, array: Array) -> Array:
    import numpy as np

    if array.dtype.kind not in "iu" or array.min(initial=0) < 0:
        raise ValueError("one_hot wants integers from 0 on")
    return np.eye(one.classes, dtype=np.float32)[array]


def _kind(one: Transform) -> str:
    return str(one.__struct_config__.tag)


_DOING: dict[type, Callable[[Any, Any], Any]] = {
    Normalise: _normalise,
    Clip: lambda one, array: array.clip(one.min, one.max),
    OneHot: _one_hot,
    Cast: lambda one, array: array.astype(one.dtype),
    Reshape: lambda one, array: array.reshape(len(array), *one.shape),
    Flatten: lambda one, array: array.reshape(len(array), -1),
    Rename: lambda one, array: array,
}
