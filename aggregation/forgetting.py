"""Who took part in rounds of long ago: forgotten, when what it adds up to is kept.

What tenants used is counted by day before (:mod:`aggregation.usage`). Rounds, versions, metrics
and events stay, and of the assignments how many ended how.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Count

from aggregation.models import Batch, Closing, Hold, Partial, Update
from core import knobs
from jobs.models import Assignment, Round

logger = logging.getLogger(__name__)
AT_ONCE = 50
AT_MOST = 1_000
"""Rounds in one transaction, and in one run: the rest waits for the next one."""
COUNTED_ANEW = timedelta(days=2)
"""Yesterday's use and today's are still counted from the rows."""


def forget(*, now: datetime) -> int:
    """Delete the assignments of jobs that finished ``assignment_days`` ago, as the system role.

    With them goes how their updates were folded. Returns in how many rounds.
    """
    limit = now - max(timedelta(days=knobs.get().assignment_days), COUNTED_ANEW)
    due = Round.objects.filter(
        endings__isnull=True, finished_at__lt=limit, job__finished_at__lt=limit
    ).order_by("finished_at")
    ids = list(due.values_list("id", flat=True)[:AT_MOST])
    for first in range(0, len(ids), AT_ONCE):
        _forget(ids[first : first + AT_ONCE])
    if ids:
        logger.info("assignments.forgotten", extra={"rounds": len(ids), "before": str(limit)})
    return len(ids)


@transaction.atomic
def _forget(ids: Sequence[UUID]) -> None:
    rounds = list(Round.objects.select_for_update().filter(id__in=ids, endings__isnull=True))
    ended = _endings(ids)
    for one in rounds:
        one.endings = ended[one.id]
    Round.objects.bulk_update(rounds, ["endings"])
    # An update names the partial that it is in.
    for rows in (Hold, Update, Partial, Batch, Closing, Assignment):
        rows.objects.filter(round__in=ids).delete()


def _endings(ids: Sequence[UUID]) -> dict[UUID, list[tuple[str, str, int]]]:
    """Return, by round, how many assignments ended how, the most frequent first."""
    found: dict[UUID, list[tuple[str, str, int]]] = defaultdict(list)
    groups = (
        Assignment.objects.filter(round__in=ids)
        .order_by()
        .values_list("round_id", "status", "code")
        .annotate(count=Count("id"))
        .order_by("-count", "status", "code")
    )
    for round_id, status, code, count in groups:
        found[round_id].append((status, code, count))
    return found
