"""Close the rounds of driven jobs: partials become one sum, and the driver makes the step.

Importing this imports torch: workers only.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

import jobs.services
from aggregation import blobs, claims, driven, folding, marking, ownership, sums
from aggregation.models import Closing, Partial, RoundSum
from jobs.models import Round
from propius import tensors


def close(round_: Round, cohort: int, now: datetime) -> None:
    """Make the sum of a round, over at least ``cohort`` reports."""
    partials = list(Partial.objects.filter(round=round_).order_by("number"))
    count = sum(partial.count for partial in partials)
    if count != round_.reported:
        raise folding.Incomplete(f"partials hold {count} of {round_.reported} updates")
    scalars = sums.merge_metrics(partial.metrics for partial in partials)
    metrics = dict(sums.means(scalars, cohort=cohort))
    store = blobs.store()
    with store.writer() as writer:
        sums.merge([store.path(partial.digest) for partial in partials], writer.write)
        tensors.check_finite(writer.path)
        digest = writer.commit()
    with transaction.atomic():
        jobs.services.locked_aggregating(round_.id)
        ownership.claim(
            tenant_id=round_.tenant_id, digest=digest, size_bytes=writer.size_bytes, now=now
        )
        RoundSum.objects.create(
            tenant_id=round_.tenant_id,
            round=round_,
            digest=digest,
            size_bytes=writer.size_bytes,
            count=count,
            weight=sum(partial.weight for partial in partials),
            metrics=metrics,
            created_at=now,
        )
        marking.mark(round_, cohort=cohort, now=now)
        claims.done(Closing, round_.pk, now=now)
        jobs.services.complete_driven(round_id=round_.id, metrics=metrics, now=now)
        driven.release(round_.job, now=now)
