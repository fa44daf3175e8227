"""Mark the updates of a round that stand out by how far they move the model."""

from __future__ import annotations

from datetime import datetime

from aggregation import outliers
from aggregation.models import Update
from core import events
from jobs.models import Round


def mark(round_: Round, *, cohort: int, now: datetime) -> int:
    """Mark the outliers of a round, in the transaction that closes it; returns how many.

    The job's events say a number, over at least ``cohort`` updates; which devices, operators see.
    """
    rows = Update.objects.filter(round=round_, set_aside_at=None, norm__isnull=False)
    found = list(rows.values_list("id", "norm"))
    ids = [found[index][0] for index in outliers.among([norm or 0.0 for _, norm in found])]
    if not ids:
        return 0
    Update.objects.filter(id__in=ids).update(is_outlier=True)
    if len(found) >= cohort:
        events.append(
            "round.outliers", now=now, tenant_id=round_.tenant_id, job_id=round_.job_id,
            round_id=round_.id, number=round_.number, attempt=round_.attempt,
            round_kind=round_.kind, count=len(ids),
        )  # fmt: skip
    return len(ids)
