"""What a leaf held is counted, or given up: moves of many reports of one round at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from core import events
from jobs import states
from jobs.models import Round
from jobs.services import leaves, rounds
from jobs.services.assignments import Reported, RoundClosed


@transaction.atomic
def count_held(*, round_id: UUID, assignment_ids: Sequence[UUID], now: datetime) -> Reported:
    """Count held reports; ``sequence`` is that of the first, the others follow it.

    Runs inside the transaction that makes their updates, or the sum of them, durable.

    Raises RoundClosed: the round takes none any more, or one of them is not held.
    """
    round_ = Round.objects.select_for_update(no_key=True).get(id=round_id)
    if round_.status not in states.OPEN_ROUND:
        raise RoundClosed("the round is closed; it takes no more reports")
    moved = leaves.held_of(round_).filter(id__in=assignment_ids).update(code="")
    if moved != len(assignment_ids):
        raise RoundClosed(f"{len(assignment_ids) - moved} of the reports are not held any more")
    first = round_.last_sequence + 1
    round_.reported += moved
    Round.objects.filter(id=round_.id).update(reported=round_.reported)
    closed = round_.reported >= round_.demand and rounds.close(round_, now=now)
    events.changed(tenant_id=round_.tenant_id, job_id=round_.job_id, kind="assignment.reported")
    return Reported(sequence=first, round=round_, closed=closed)


@transaction.atomic
def lose_held(
    *, round_id: UUID, assignment_ids: Collection[UUID], message: str, now: datetime
) -> int:
    """Give up reports that their leaf will not hand over; returns how many were still held.

    Their slots are open again, unless the round has enough without them and closes.
    """
    round_ = Round.objects.select_for_update(no_key=True).get(id=round_id)
    lost = leaves.lose(round_, assignment_ids=assignment_ids, message=message, now=now)
    if lost and round_.status in states.OPEN_ROUND and round_.reported >= round_.demand:
        rounds.close(round_, now=now)
    return lost
