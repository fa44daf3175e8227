"""How a round's job wants its updates made into the next version, from its spec.

Importing this imports torch: workers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aggregation import blobs, expected, privacy, queries, strategies
from aggregation.decoding import Encoding
from aggregation.models import ModelVersion
from aggregation.privacy import Mechanism
from aggregation.strategies import AllUpdates, Strategy, WeightedSum
from jobs.models import Job, Round
from propius.privacy import Privacy

STEPS = "local_steps"
"""The metric in which a device says how many steps it took."""
STALENESS = "staleness"
"""The metric of how many versions the updates of an asynchronous job were behind."""


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


def of(round_: Round) -> Recipe:
    """Return the recipe of a train round. Raises StrategyError, BlobMissing."""
    job = round_.job
    settings = dict(job.spec["strategy"])
    state = _state_before(round_)
    return Recipe(
        strategy=queries.Total()
        if queries.is_query(job)
        else strategies.build(settings.pop("name"), settings),
        encoding=Encoding(
            codec=job.spec["codec"],
            tensors=expected.averaged(job),
            base=blobs.store().path(round_.base_digest),
            others=tuple(expected.codecs(job)[1:]),
        ),
        rules=expected.rules(job),
        state=state,
        mechanism=_mechanism(job, state),
    )


def _mechanism(job: Job, state: Path | None) -> Mechanism | None:
    asked = job.spec.get("privacy")
    if asked is None:
        return None
    settings = msgspec.convert(asked, Privacy)
    return privacy.mechanism(settings, state, job.spec["rounds"]["demand"])


def _state_before(round_: Round) -> Path | None:
    if not round_.base_version:
        return None
    before = ModelVersion.objects.get(job=round_.job, number=round_.base_version)
    return blobs.store().path(before.state_digest) if before.state_digest else None
