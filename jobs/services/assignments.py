"""How an assignment ends by its device's word: reported, or given back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NoReturn
from uuid import UUID

from django.db import transaction
from django.db.models import DateTimeField, Value
from django.db.models.functions import Coalesce

from clients.models import Device
from core import events
from core.errors import Conflict, NotFound
from jobs import states
from jobs.models import Assignment, Round
from jobs.services import buffers, rounds, slots


class StaleAssignment(NotFound):
    """This device holds no such assignment."""

    code = "stale_assignment"


class AssignmentOver(Conflict):
    """The assignment has ended: declined, failed, expired or cancelled."""

    code = "assignment_over"


class RoundClosed(Conflict):
    """The round takes no more reports."""

    code = "round_closed"


class AlreadyReported(Conflict):
    """The assignment's report was accepted before."""

    code = "already_reported"


@dataclass(frozen=True, slots=True)
class Reported:
    """An accepted report: its sequence number in the round, from 1, and whether that closed it."""

    sequence: int
    round: Round
    closed: bool


@transaction.atomic
def give_back(
    *,
    assignment_id: UUID,
    device_id: UUID,
    status: Literal["declined", "failed"],
    code: str,
    message: str,
    now: datetime,
) -> None:
    """End an assignment without a report; its slot is free again.

    Raises StaleAssignment, AssignmentOver.
    """
    held, _ = _locked(assignment_id, device_id)
    moved = Assignment.objects.filter(id=assignment_id, status=Assignment.Status.BOUND).update(
        status=status,
        code=code[:60],
        # A device's own words, which may quote anything; Postgres holds no NUL.
        message=message[:500].replace("\0", "\ufffd"),
        ended_at=now,
    )
    if not moved:
        raise_over(assignment_id, device_id)
    slots.count_lost({held.round_id: 1})
    events.append(
        f"assignment.{status}", now=now, tenant_id=held.tenant_id, job_id=held.job_id,
        round_id=held.round_id, assignment_id=held.id, code=code[:60],
    )  # fmt: skip


@transaction.atomic
def report(*, assignment_id: UUID, device_id: UUID, now: datetime) -> Reported:
    """Count a report. Runs inside the transaction that makes the update itself durable.

    Raises StaleAssignment, AlreadyReported, RoundClosed, AssignmentOver; of an asynchronous job
    TooStale.
    """
    held, round_ = _locked(assignment_id, device_id)
    moved = 0
    # Who was shut out is not heard, though what it held may not be taken back yet.
    if round_.status in states.OPEN_ROUND and not is_shut_out(held):
        if round_.concurrency is not None and held.status == Assignment.Status.BOUND:
            buffers.check_fresh(held, round_)
        moved = Assignment.objects.filter(id=assignment_id, status=Assignment.Status.BOUND).update(
            status=Assignment.Status.REPORTED,
            ended_at=now,
            # Its acceptance may still wait in the gateway's next batch: a report says it too.
            accepted_at=Coalesce("accepted_at", Value(now, DateTimeField())),
        )
    if not moved:
        raise_over(assignment_id, device_id)
    round_.reported += 1
    Round.objects.filter(id=round_.id).update(reported=round_.reported)
    closed = round_.reported >= round_.demand and rounds.close(round_, now=now)
    if round_.concurrency is not None and not closed:
        buffers.reopen_slot(round_)
    events.changed(tenant_id=round_.tenant_id, job_id=round_.job_id, kind="assignment.reported")
    return Reported(sequence=round_.last_sequence, round=round_, closed=closed)


def _locked(assignment_id: UUID, device_id: UUID) -> tuple[Assignment, Round]:
    """Return an assignment and its round, locked. Raises StaleAssignment."""
    while True:
        held = Assignment.objects.filter(id=assignment_id, device_id=device_id).first()
        if held is None:
            raise StaleAssignment(f"this device holds no assignment {assignment_id}")
        round_ = Round.objects.select_for_update(no_key=True).get(id=held.round_id)
        if round_.concurrency is None:
            return held, round_
        # Its buffer may have closed while we waited: then it is in the next one, of a higher id.
        if Assignment.objects.filter(id=assignment_id, round_id=round_.id).exists():
            held.refresh_from_db()
            return held, round_


def raise_over(assignment_id: UUID, device_id: UUID) -> NoReturn:
    """Say why an assignment is not bound any more."""
    held = Assignment.objects.filter(id=assignment_id, device_id=device_id).first()
    if held is None:
        raise StaleAssignment(f"this device holds no assignment {assignment_id}")
    if held.status == Assignment.Status.REPORTED:
        raise AlreadyReported(f"assignment {assignment_id} has reported")
    if held.code == "round_closed":
        raise RoundClosed("the round is closed; it takes no more reports")
    why = f"{held.status} {held.code}".strip()
    if held.status == Assignment.Status.BOUND and is_shut_out(held):
        why = "its device was revoked"
    raise AssignmentOver(f"assignment {assignment_id} is over: {why}")


def is_shut_out(held: Assignment) -> bool:
    """Tell whether the assignment's device was revoked."""
    return Device.objects.filter(id=held.device_id, status=Device.Status.REVOKED).exists()
