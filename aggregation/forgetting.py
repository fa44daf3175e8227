"""Who took part in rounds of long ago: forgotten, when what it adds up to is kept.

What tenants used is counted by day before (:mod:`aggregation.usage`). Rounds, versions, metrics
and events stay, and of the assignments how many ended how.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from django.db import connection, transaction

import jobs.services
from aggregation import usage
from core import knobs
from jobs.models import Round

logger = logging.getLogger(__name__)
AT_ONCE = 2_000
AT_MOST = 20_000
"""So many assignments, or a round's, go in one transaction and in one run: the rest waits."""
# None of what is named by one that is still there. Django would read every row first.
_DELETE = (
    "DELETE FROM aggregation_hold WHERE round_id = ANY(%s)",
    "DELETE FROM aggregation_update WHERE round_id = ANY(%s)",
    "DELETE FROM aggregation_partial WHERE round_id = ANY(%s)",
    "DELETE FROM aggregation_batch WHERE round_id = ANY(%s)",
    "DELETE FROM aggregation_closing WHERE round_id = ANY(%s)",
)


def forget(*, now: datetime) -> int:
    """Delete the assignments of jobs that finished ``assignment_days`` ago, as the system role.

    With them goes how their updates were folded. Returns in how many rounds.
    """
    limit = now - timedelta(days=knobs.get().assignment_days)
    # Days that are still counted from the rows keep them.
    open_day = datetime.combine(usage.first_open_day(now=now), time(), UTC)
    due = Round.objects.filter(
        endings__isnull=True,
        finished_at__lt=limit,
        job__finished_at__lt=limit,
        closed_at__lt=open_day,
    ).order_by("finished_at")
    count = 0
    for ids in _portions(due.values_list("id", "assigned", "lost")[:AT_MOST]):
        _forget(ids)
        count += len(ids)
    if count:
        logger.info("assignments.forgotten", extra={"rounds": count, "before": str(limit)})
    return count


def _portions(rounds: Iterable[tuple[UUID, int, int]]) -> Iterator[list[UUID]]:
    """Cut rounds into transactions, by how many assignments they had."""
    portion: list[UUID] = []
    began = total = 0
    for round_id, assigned, lost in rounds:
        portion.append(round_id)
        total += 1 + assigned + lost
        if total - began >= AT_ONCE:
            yield portion
            portion, began = [], total
        if total >= AT_MOST:
            break
    if portion:
        yield portion


@transaction.atomic
def _forget(ids: list[UUID]) -> None:
    with connection.cursor() as cursor:
        for statement in _DELETE:
            cursor.execute(statement, [ids])
    jobs.services.forget_assignments(ids)
