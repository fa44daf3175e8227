"""Close evaluation rounds: weighted means of what devices measured on a version.

Importing this imports torch: workers only.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

import jobs.services
from aggregation import claims, folding, retention, sums, sweeping
from aggregation.models import Closing, ModelVersion, Update
from jobs.models import Round


def close(round_: Round, cohort: int, now: datetime) -> None:
    """Average what at least ``cohort`` devices measured. Raises RoundOver, Incomplete."""
    reports = Update.objects.filter(round=round_).order_by("sequence")
    found = list(reports.values_list("weight", "metrics"))
    if len(found) != round_.reported:
        raise folding.Incomplete(f"{len(found)} of {round_.reported} reports have rows")
    metrics = sums.means(sums.sum_metrics(found), cohort=cohort)
    sweeping.ensure_first(round_.job, now=now)
    with transaction.atomic():
        jobs.services.lock_to_finish(round_.id)
        jobs.services.locked_aggregating(round_.id)
        ModelVersion.objects.filter(job_id=round_.job_id, number=round_.base_version).update(
            evaluation=metrics
        )
        claims.done(Closing, round_.pk, now=now)
        jobs.services.complete_round(
            round_id=round_.id,
            parameters_digest=round_.base_digest,
            parameters_size=round_.base_size,
            version=round_.base_version,
            metrics=metrics,
            now=now,
        )
        retention.apply(round_.job, now=now)
