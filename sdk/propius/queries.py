"""Parts of answers to queries: what a device counts of its own examples, for others to sum.

Each function returns named arrays whose sum over devices is the answer over all of them. Numbers
are clipped to a range that the function names, so that no single example can move a mean far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from propius import arrays
from propius.arrays import Array


def count(name: str, chosen: Array) -> dict[str, Array]:
    """Count the examples that were chosen, a boolean array; ``name`` is a number.

    Examples
    --------
    >>> count("adults", np.array([30, 12, 60]) >= 18)
    {'adults': array(2.)}
    """
    return {name: np.asarray(np.count_nonzero(chosen), dtype=np.float64)}


def histogram(name: str, values: Array, edges: Sequence[float]) -> dict[str, Array]:
    """Count values by bin; the first and the last bin also take what lies outside the edges.

    Examples
    --------
    >>> histogram("age", np.array([5, 30, 99]), [0, 18, 65])
    {'age': array([1., 2.])}
    """
    inside = np.clip(values, edges[0], edges[-1])
    return {name: np.histogram(inside, bins=np.asarray(edges))[0].astype(np.float64)}


def mean(name: str, values: Array, *, low: float, high: float) -> dict[str, Array]:
    """Sum and count of values clipped to ``low`` … ``high``; the platform tells ``name/mean`` too.

    Examples
    --------
    >>> mean("age", np.array([5.0, 30.0, 990.0]), low=0, high=100)
    {'age/sum': array(135.), 'age/count': array(3.)}
    """
    clipped = np.clip(np.asarray(values, dtype=np.float64), low, high)
    return {
        f"{name}/sum": np.asarray(clipped.sum()),
        f"{name}/count": np.asarray(float(clipped.size)),
    }


def form(parts: Mapping[str, Array]) -> bytes:
    """Return the form of an answer, as the safetensors bytes to upload as the job's parameters.

    Examples
    --------
    >>> empty = np.empty(0)
    >>> data = form(histogram("age", empty, [0, 18, 65]) | mean("age", empty, low=0, high=100))
    >>> sorted(arrays.load(data))
    ['age', 'age/count', 'age/sum']
    """
    return arrays.save({name: np.zeros_like(one) for name, one in parts.items()})
