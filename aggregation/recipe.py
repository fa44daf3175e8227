"""How updates of a job become its next version, from files alone: the half without rows.

Importing this imports torch: workers only, and whoever runs a job again.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from aggregation import changes, privacy, sums
from aggregation.decoding import Encoding
from aggregation.privacy import Mechanism
from aggregation.strategies import AllUpdates, Strategy, WeightedSum
from core.version import VERSION
from propius.strategies import STEPS

STALENESS = "staleness"
"""The metric of how many versions the updates of an asynchronous job were behind."""


@dataclass(frozen=True, slots=True)
class Report:
    """An update's file, and what came with it.

    ``base`` is the version that its device began from, ``behind`` how many versions ago that was,
    both for strategies by staleness only.
    """

    path: Path
    weight: float
    metrics: Mapping[str, float]
    base: Path | None = None
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Scalars:
    """What a partial holds beside its tensors: the sum of weights, and of each metric."""

    weight: float
    metrics: sums.Metrics


@dataclass(frozen=True, slots=True)
class Recipe:
    """What folding and closing a round need beside the bytes.

    ``state`` is the file of what the version before left behind, ``mechanism`` what makes the
    round differentially private.
    """

    strategy: Strategy
    encoding: Encoding
    rules: Mapping[str, str]
    state: Path | None
    mechanism: Mechanism | None

    def weight(self, weight: float, metrics: Mapping[str, float]) -> float:
        """Return the factor of an update in the sum."""
        if isinstance(self.strategy, AllUpdates):
            return 1.0
        return self.strategy.fold_weight(weight, metrics.get(STEPS, 1.0))

    @property
    def by_staleness(self) -> bool:
        """Whether each update counts by the version that it began from."""
        return isinstance(self.strategy, WeightedSum) and self.strategy.by_staleness

    def discounts(self, staleness: Sequence[int]) -> list[float]:
        """Return the factors of updates that began so many versions ago."""
        assert isinstance(self.strategy, WeightedSum)
        return [self.strategy.discount(one) for one in staleness]

    def metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return an update's scalars, with those that the strategy cannot do without."""
        if isinstance(self.strategy, WeightedSum) and self.strategy.by_steps:
            return {**metrics, STEPS: max(1.0, metrics.get(STEPS, 1.0))}
        return dict(metrics)


def fold(recipe: Recipe, reports: Sequence[Report], write: sums.Write) -> Scalars:
    """Write the sum of a batch, in the order of its reports."""
    if recipe.by_staleness:
        return _fold_changes(recipe, reports, write)
    paths = [one.path for one in reports]
    if recipe.mechanism is not None:
        below = privacy.fold(paths, recipe.mechanism.norm, recipe.encoding, write)
        count = len(reports)
        # No metrics: means without noise would tell what the noise on the model hides.
        return Scalars(count, {privacy.UNCLIPPED: (below, count, count)})
    weights = [recipe.weight(one.weight, one.metrics) for one in reports]
    encoding = recipe.encoding
    if isinstance(recipe.strategy, AllUpdates):
        # Its updates are read one by one at the close; this partial holds their scalars.
        encoding = dataclasses.replace(encoding, tensors={})
        paths = []
    sums.fold(paths, weights[: len(paths)], encoding, write)
    metrics = sums.sum_metrics((one.weight, recipe.metrics(one.metrics)) for one in reports)
    return Scalars(sum(weights), metrics)


def _fold_changes(recipe: Recipe, reports: Sequence[Report], write: sums.Write) -> Scalars:
    """Write the sum of the batch's changes, each of the version that its device began from."""
    weights = [recipe.weight(one.weight, one.metrics) for one in reports]
    discounts = recipe.discounts([one.behind for one in reports])
    changes.fold(
        [one.path for one in reports],
        [one.base for one in reports if one.base is not None],
        [weight * s for weight, s in zip(weights, discounts, strict=True)],
        recipe.encoding,
        write,
    )
    metrics = sums.sum_metrics(
        (one.weight, {**recipe.metrics(one.metrics), STALENESS: float(one.behind)})
        for one in reports
    )
    return Scalars(sum(weights), metrics)


def merged(
    strategy: WeightedSum, partials: Iterable[tuple[float, int]], scalars: sums.Metrics
) -> sums.Merged:
    """Return what partials, each ``(weight, count)``, hold together beside their tensors."""
    parts = list(partials)
    found = sums.Merged(
        weight=sum(weight for weight, _ in parts), count=sum(count for _, count in parts)
    )
    if strategy.by_steps:
        steps, examples, _ = scalars[STEPS]
        return dataclasses.replace(found, examples=examples, steps=steps / examples)
    return found


def made_with() -> dict[str, str]:
    """Return the releases that a version is made with: other ones may round otherwise."""
    return {
        "platform": VERSION,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }
