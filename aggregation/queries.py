"""Queries: the answers of a cohort, summed. Importing this imports torch: workers only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from aggregation.strategies.base import Sum, WeightedSum
from jobs.models import Job
from propius import arrays

FIGURES_MAX = 200
_MEAN, _SUM, _COUNT = "/mean", "/sum", "/count"


class Total(WeightedSum):
    """The sum itself: no answer weighs more than another, and nothing is left of earlier ones."""

    __slots__ = ()

    def fold_weight(self, weight: float, steps: float) -> float:
        """Return 1."""
        return 1.0

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the sum."""
        return summed.total.to(base.dtype), {}


def is_query(job: Job) -> bool:
    """Tell whether a job asks rather than trains."""
    return bool(job.spec["workload"]["kind"] == "query")


def figures(answer: Path) -> dict[str, float]:
    """Return the small parts of an answer as a round's metrics; large ones are in its tensors.

    ``x[3]`` is an element of a vector. Where there are ``x/sum`` and ``x/count``, ``x/mean`` is
    told too.
    """
    found: dict[str, float] = {}
    for name, array in arrays.load(answer).items():
        if len(found) + array.size > FIGURES_MAX or array.ndim > 1:
            continue
        if array.ndim == 0:
            found[name] = float(array)
        else:
            found |= {f"{name}[{index}]": float(one) for index, one in enumerate(array)}
    for name in list(found):
        count = found.get(name.removesuffix(_SUM) + _COUNT, 0.0)
        if name.endswith(_SUM) and count:
            found[name.removesuffix(_SUM) + _MEAN] = found[name] / count
    return found
