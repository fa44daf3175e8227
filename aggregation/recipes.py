"""How a round's job wants its updates made into the next version, from its spec.

Importing this imports torch: workers only.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from aggregation import blobs, expected, privacy, queries, strategies
from aggregation.decoding import Encoding
from aggregation.models import ModelVersion
from aggregation.privacy import Mechanism
from aggregation.recipe import Recipe
from jobs.models import Job, Round
from propius.privacy import Privacy


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
