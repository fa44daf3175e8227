"""Reports that a leaf has acknowledged and not yet handed over: held ones, for short.

The device is done with a held assignment, whose status is ``reported``; its round counts it only
when the leaf's partial comes. Until then its code says that it is held. A round waits for what is
held when it closes, and no longer than ``leaf_wait_s``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, Max, QuerySet, Value
from django.db.models.functions import Coalesce

from clients.models import Device
from core import events, knobs
from jobs import states
from jobs.models import Assignment, Round
from jobs.services import opening, slots

HELD = "held_by_leaf"
LOST = "leaf_lost"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Assignments that are held now, and whether the round has all that it asks for."""

    taken: frozenset[UUID]
    is_full: bool


@transaction.atomic
def acknowledge(*, round_id: UUID, assignment_ids: Collection[UUID], now: datetime) -> Acknowledged:
    """Hold those that are bound to the round, while it asks for reports."""
    round_ = Round.objects.select_for_update(no_key=True).get(id=round_id)
    count = held_of(round_).count()
    late = round_.deadline_at is not None and round_.deadline_at <= now
    # A buffer closes and opens with each report; those of its updates go to the root.
    late |= round_.concurrency is not None
    if round_.status not in states.OPEN_ROUND or late or round_.reported + count >= round_.demand:
        return Acknowledged(frozenset(), is_full=True)
    bound = Assignment.objects.filter(
        id__in=assignment_ids,
        round_id=round_id,
        status=Assignment.Status.BOUND,
        device__status=Device.Status.ACTIVE,
    )
    rows = bound.order_by("id").select_for_update(no_key=True, of=("self",))
    ids = list(rows.values_list("id", flat=True))[: round_.demand - round_.reported - count]
    Assignment.objects.filter(id__in=ids).update(
        status=Assignment.Status.REPORTED,
        code=HELD,
        ended_at=now,
        accepted_at=Coalesce("accepted_at", Value(now, DateTimeField())),
    )
    if ids:
        _tell(round_)
    return Acknowledged(frozenset(ids), round_.reported + count + len(ids) >= round_.demand)


def wants_held(round_: Round, *, now: datetime) -> bool:
    """Tell whether leaves shall hand over what they hold: the round would close if it could."""
    late = round_.deadline_at is not None and round_.deadline_at <= now
    return late or round_.reported + held_of(round_).count() >= round_.demand


def held_of(round_: Round) -> QuerySet[Assignment]:
    """Return the held assignments of a round."""
    return Assignment.objects.filter(
        round_id=round_.id, status=Assignment.Status.REPORTED, code=HELD
    )


def waits(round_: Round, *, now: datetime) -> bool:
    """Tell whether a round that could close has held reports that may still come."""
    return held_of(round_).exists() and now < waits_until(round_, now=now)


def waited_enough(round_: Round, *, now: datetime) -> bool:
    """Tell whether a round that wants what is held has waited for it as long as it may."""
    return wants_held(round_, now=now) and now >= waits_until(round_, now=now)


def waits_until(round_: Round, *, now: datetime) -> datetime:
    """Return until when: from the report that filled the round on, or from its deadline."""
    reported = round_.assignments.filter(status=Assignment.Status.REPORTED)
    newest = reported.aggregate(newest=Max("ended_at"))["newest"] or now
    deadline = round_.deadline_at
    since = max(newest, deadline) if deadline is not None and deadline <= now else newest
    return since + timedelta(seconds=knobs.get().leaf_wait_s)


def lose(round_: Round, *, assignment_ids: Collection[UUID], message: str, now: datetime) -> int:
    """Give up held reports, in words, and return their slots. The caller holds the round's lock."""
    held = held_of(round_).filter(id__in=assignment_ids)
    lost = held.update(
        status=Assignment.Status.FAILED, code=LOST, message=message[:500], ended_at=now
    )
    if lost:
        slots.count_lost({round_.id: lost})
        opening.note(round_, code=LOST, message=message, count=lost)
        events.append(
            "round.leaf_lost", now=now, tenant_id=round_.tenant_id, job_id=round_.job_id,
            round_id=round_.id, number=round_.number, count=lost, message=message,
        )  # fmt: skip
    return lost


def lose_rest(round_: Round, *, now: datetime) -> None:
    """Give up whatever is still held as the round closes. The caller holds the round's lock."""
    ids = list(held_of(round_).values_list("id", flat=True))
    if ids:
        wait_s = knobs.get().leaf_wait_s
        lose(
            round_,
            assignment_ids=ids,
            message=f"{len(ids)} updates that leaves had taken did not come within {wait_s:g} s;"
            " the round closed without them",
            now=now,
        )


def release(round_ids: Collection[UUID], *, now: datetime) -> None:
    """End what is still held of rounds that have ended without a result, whose locks are held."""
    held = Assignment.objects.filter(
        round_id__in=round_ids, status=Assignment.Status.REPORTED, code=HELD
    )
    found = dict(held.order_by("id").select_for_update(no_key=True).values_list("id", "round_id"))
    if not found:
        return
    Assignment.objects.filter(id__in=list(found)).update(
        status=Assignment.Status.FAILED,
        code=LOST,
        message="its round ended before its leaf handed the update over",
        ended_at=now,
    )
    slots.count_lost(Counter(found.values()))


def _tell(round_: Round) -> None:
    events.changed(tenant_id=round_.tenant_id, job_id=round_.job_id, kind="assignment.reported")
