"""Count many reports in one transaction: a round's devices tend to end at the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, Q, Value
from django.db.models.functions import Coalesce

from clients.models import Device
from core import events
from core.errors import PropiusError
from jobs import states
from jobs.models import Assignment, Round
from jobs.services import assignments, rounds
from jobs.services.assignments import Reported, StaleAssignment


@dataclass(frozen=True, slots=True)
class Report:
    """A device's word that its work of an assignment is done."""

    assignment_id: UUID
    device_id: UUID


@transaction.atomic
def report_many(
    *, reports: Sequence[Report], kind: str, now: datetime
) -> dict[UUID, Reported | PropiusError]:
    """Count reports in the order given, each as :func:`jobs.services.report` would.

    Runs inside the transaction that makes the updates themselves durable. One that does not count
    is answered by its error; the others stand. No answer have those of rounds of another kind, and
    of asynchronous jobs: a report closes and opens their buffers, and needs its own transaction.
    """
    held = Assignment.objects.in_bulk([one.assignment_id for one in reports])
    answers: dict[UUID, Reported | PropiusError] = {}
    by_round: dict[UUID, list[Assignment]] = {}
    for one in reports:
        found = held.get(one.assignment_id)
        if found is None or found.device_id != one.device_id:
            text = f"this device holds no assignment {one.assignment_id}"
            answers[one.assignment_id] = StaleAssignment(text)
        else:
            by_round.setdefault(found.round_id, []).append(found)
    rows = Round.objects.filter(id__in=list(by_round), kind=kind).select_related("job")
    locked = list(rows.order_by("id").select_for_update(no_key=True, of=("self",)))
    counted = [
        (one, by_round[one.id]) for one in locked if "buffer_size" not in one.job.spec["strategy"]
    ]
    bound = _lock_bound(counted)
    for round_, mine in counted:
        answers |= _count(round_, mine, bound, now)
    return answers


def _lock_bound(found: Sequence[tuple[Round, Sequence[Assignment]]]) -> set[UUID]:
    """Lock by id what may report; of rounds that may close all, for they are taken back then."""
    is_open = [(one, mine) for one, mine in found if one.status in states.OPEN_ROUND]
    closing = [one.id for one, mine in is_open if one.reported + len(mine) >= one.demand]
    ids = [one.id for _, mine in is_open for one in mine]
    rows = Assignment.objects.filter(
        Q(id__in=ids) | Q(round_id__in=closing), status=Assignment.Status.BOUND
    )
    held = rows.order_by("id").select_for_update(no_key=True, of=("self",))
    # Who was shut out is not heard, though what it held may not be taken back yet.
    of_devices = dict(held.values_list("id", "device__status")) if ids else {}
    return {one for one, status in of_devices.items() if status == Device.Status.ACTIVE}


def _count(
    round_: Round, mine: Sequence[Assignment], bound: set[UUID], now: datetime
) -> dict[UUID, Reported | PropiusError]:
    answers: dict[UUID, Reported | PropiusError] = {}
    left = [one.id for one in mine if one.id in bound]
    closed = False
    while left and not closed:
        # One at least: a round that has enough may still wait for its leaves, and takes more.
        room = max(1, round_.demand - round_.reported)
        part, left = left[:room], left[room:]
        first = round_.last_sequence + 1
        Assignment.objects.filter(id__in=part).update(
            status=Assignment.Status.REPORTED,
            ended_at=now,
            # Its acceptance may still wait in the gateway's next batch: a report says it too.
            accepted_at=Coalesce("accepted_at", Value(now, DateTimeField())),
        )
        closed = _add(round_, len(part), now)
        answers |= {
            identifier: Reported(sequence=first + place, round=round_, closed=closed)
            for place, identifier in enumerate(part)
        }
    return answers | {one.id: _why_over(one) for one in mine if one.id not in answers}


def _add(round_: Round, count: int, now: datetime) -> bool:
    round_.reported += count
    Round.objects.filter(id=round_.id).update(reported=round_.reported)
    events.changed(tenant_id=round_.tenant_id, job_id=round_.job_id, kind="assignment.reported")
    return round_.reported >= round_.demand and rounds.close(round_, now=now)


def _why_over(one: Assignment) -> PropiusError:
    try:
        assignments.raise_over(one.id, one.device_id)
    except PropiusError as error:
        return error
