"""Leases of assignments: begun by the device's first word, renewed by progress, run out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from core import events, hints, knobs, statements
from core.errors import PropiusError
from jobs.models import Assignment, Round
from jobs.services import assignments, slots


@dataclass(frozen=True, slots=True)
class Progress:
    """What a device last told; ``fraction`` in [0, 1] of ``phase``."""

    assignment_id: UUID
    phase: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Over:
    """Why an assignment is not bound any more."""

    code: str
    message: str


GONE = Over("assignment_over", "its lease ran out or its round closed")


def accept(*, assignment_id: UUID, device_id: UUID, now: datetime) -> None:
    """The device's first word; again renews the lease. Raises StaleAssignment, AssignmentOver."""
    lease = now + timedelta(seconds=knobs.get().lease_s)
    mine = Assignment.objects.filter(id=assignment_id, device_id=device_id)
    first = mine.filter(status=Assignment.Status.BOUND, accepted_at=None)
    if first.update(accepted_at=now, lease_expires_at=lease):
        return
    if mine.filter(status=Assignment.Status.BOUND).update(lease_expires_at=lease):
        return
    assignments.raise_over(assignment_id, device_id)


def accept_many(*, accepts: Sequence[tuple[UUID, UUID]], now: datetime) -> dict[UUID, PropiusError]:
    """Take the first words of many devices, as (assignment, device), in one statement.

    Returns what :func:`accept` would raise, by assignment.
    """
    if not accepts:
        return {}
    lease = now + timedelta(seconds=knobs.get().lease_s)
    ids = [assignment_id for assignment_id, _ in accepts]
    with transaction.atomic(), statements.prepared() as cursor:
        cursor.execute(
            """
            UPDATE jobs_assignment
            SET accepted_at = coalesce(accepted_at, %s), lease_expires_at = %s
            WHERE id IN (
                SELECT a.id FROM jobs_assignment a
                JOIN unnest(%s::uuid[], %s::uuid[]) AS v(id, device_id)
                    ON a.id = v.id AND a.device_id = v.device_id
                WHERE a.status = 'bound' ORDER BY a.id FOR NO KEY UPDATE OF a
            ) RETURNING id
            """,
            [now, lease, ids, [device_id for _, device_id in accepts]],
        )
        taken = {assignment_id for (assignment_id,) in cursor.fetchall()}
    faults: dict[UUID, PropiusError] = {}
    for assignment_id, device_id in accepts:
        if assignment_id not in taken:
            try:
                assignments.raise_over(assignment_id, device_id)
            except PropiusError as error:
                faults[assignment_id] = error
    return faults


def renew(*, progress: Sequence[Progress], now: datetime) -> dict[UUID, Over]:
    """Renew many leases in one statement; returns the assignments that are over, and why.

    A row that someone else is changing right now is passed over: its lease has time left, and
    waiting for it could deadlock with the close of its round.
    """
    if not progress:
        return {}
    ids = [one.assignment_id for one in progress]
    lease = now + timedelta(seconds=knobs.get().lease_s)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE jobs_assignment a
            SET lease_expires_at = %s, phase = p.phase, fraction = p.fraction
            FROM unnest(%s::uuid[], %s::text[], %s::float[]) AS p(id, phase, fraction)
            WHERE a.id = p.id AND a.id IN (
                SELECT id FROM jobs_assignment
                WHERE id = ANY(%s::uuid[]) AND status = 'bound' FOR UPDATE SKIP LOCKED
            )
            """,
            [
                lease,
                ids,
                [one.phase for one in progress],
                [one.fraction for one in progress],
                ids,
            ],
        )
        # One that reported otherwise than here is not lost: its device is about to hear so.
        going = (Assignment.Status.BOUND, Assignment.Status.REPORTED)
        still = Assignment.objects.filter(id__in=ids, status__in=going)
        bound = set(still.values_list("id", flat=True))
        for tenant_id, job_id in set(still.values_list("tenant_id", "job_id")):
            events.changed(tenant_id=tenant_id, job_id=job_id, kind="assignment.progress")
    over = dict.fromkeys(set(ids) - bound, GONE)
    ended = Assignment.objects.filter(id__in=list(over)).exclude(code="") if over else ()
    return over | {one.id: Over(one.code, one.message) for one in ended}


@transaction.atomic
def extend_leases(*, now: datetime) -> int:
    """Give every bound assignment a full lease: after an outage of ours, silence proves nothing."""
    lease = now + timedelta(seconds=knobs.get().lease_s)
    late = Assignment.objects.filter(status=Assignment.Status.BOUND, lease_expires_at__lt=lease)
    # By id, as whoever cancels or expires many at once.
    ids = list(late.order_by("id").select_for_update(no_key=True).values_list("id", flat=True))
    return Assignment.objects.filter(id__in=ids).update(lease_expires_at=lease)


@transaction.atomic
def expire(*, now: datetime) -> int:
    """End assignments whose lease ran out; their slots are free again."""
    due = Assignment.objects.filter(status=Assignment.Status.BOUND, lease_expires_at__lt=now)
    found = list(due.values_list("id", "round_id"))
    if not found:
        return 0
    # Rounds first, as everywhere; a report that holds the round's lock wins over its expiry.
    round_ids = {round_id for _, round_id in found}
    list(Round.objects.filter(id__in=round_ids).order_by("id").select_for_update(no_key=True))
    # One that went over to the next round meanwhile waits for the next sweep: that round is free.
    held = Assignment.objects.filter(
        id__in=[one for one, _ in found],
        round_id__in=round_ids,
        status=Assignment.Status.BOUND,
        lease_expires_at__lt=now,
    )
    expired = list(held.order_by("id").select_for_update(no_key=True))
    ids = [one.id for one in expired]
    Assignment.objects.filter(id__in=ids).update(
        status=Assignment.Status.EXPIRED, code="lease_expired", ended_at=now
    )
    slots.count_lost(Counter(one.round_id for one in expired))
    if ids:
        hints.to_gateways({"cancelled": [str(one) for one in ids], "code": "lease_expired"})
    for one in expired:
        events.append(
            "assignment.expired", now=now, tenant_id=one.tenant_id, job_id=one.job_id,
            round_id=one.round_id, assignment_id=one.id,
        )  # fmt: skip
    return len(ids)
