"""Assignments of long ago: they go, and their round keeps how many ended how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count

from jobs.models import Assignment, Round


@transaction.atomic
def forget_assignments(round_ids: Sequence[UUID]) -> None:
    """Delete the assignments of finished rounds. Whatever names them has to be gone before."""
    rounds = Round.objects.select_for_update(no_key=True).order_by("id")
    found = list(rounds.filter(id__in=round_ids, endings__isnull=True))
    ended = _endings(one.id for one in found)
    for one in found:
        one.endings = ended[one.id]
    Round.objects.bulk_update(found, ["endings"])
    with connection.cursor() as cursor:
        # Django would read every row first, to look for what names it.
        cursor.execute(
            "DELETE FROM jobs_assignment WHERE round_id = ANY(%s)", [[one.id for one in found]]
        )


def _endings(round_ids: Iterable[UUID]) -> dict[UUID, list[tuple[str, str, int]]]:
    """Return, by round, how many assignments ended how, the most frequent first."""
    found: dict[UUID, list[tuple[str, str, int]]] = defaultdict(list)
    groups = (
        Assignment.objects.filter(round__in=list(round_ids))
        .order_by()
        .values_list("round_id", "status", "code")
        .annotate(count=Count("id"))
        .order_by("-count", "status", "code")
    )
    for round_id, status, code, count in groups:
        found[round_id].append((status, code, count))
    return found
