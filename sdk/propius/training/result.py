"""What a workload gives back, the same for programs and for handlers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from propius.arrays import Array


@dataclass(frozen=True, slots=True)
class Result:
    """What one piece of local work produced.

    Parameters
    ----------
    parameters
        The tensors after local work, by name. Empty after an evaluation.
    examples
        How many examples were used; the weight in the average, at least 1.
    metrics
        Named finite scalars, for example ``{"loss": 0.3, "accuracy": 0.9}``.

    Examples
    --------
    >>> import numpy as np
    >>> Result({"w": np.zeros(2, np.float32)}, examples=10, metrics={"loss": 0.5}).examples
    10
    """

    parameters: Mapping[str, Array]
    examples: int
    metrics: Mapping[str, float] = field(default_factory=dict)
