"""Moves of an assignment: bound in batches, accepted, renewed, given back, reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from django.db import connection, transaction

from core import events, hints, knobs
from core.errors import Conflict, NotFound
from jobs import states
from jobs.models import Assignment, Job, Round
from jobs.services import rounds

Outcome = Literal["assigned", "full", "busy"]


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
class Binding:
    """What the bind script granted, not yet a row."""

    assignment_id: UUID
    round_id: UUID
    device_id: UUID
    plan_version: int


@dataclass(frozen=True, slots=True)
class Progress:
    """What a device last told; ``fraction`` in [0, 1] of ``phase``."""

    assignment_id: UUID
    phase: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Reported:
    """An accepted report: its sequence number in the round, from 1, and whether that closed it."""

    sequence: int
    round: Round
    closed: bool


def assign(*, bindings: Sequence[Binding], now: datetime) -> dict[UUID, Outcome]:
    """Commit what the bind script granted, in one transaction.

    ``full``: the round has no slot or is closed. ``busy``: the device holds another assignment
    or has had this round. The caller tells only ``assigned`` devices, after this returns.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        free = _lock_free_slots(cursor, [one.round_id for one in bindings])
        outcomes: dict[UUID, Outcome] = {}
        wanted: list[Binding] = []
        for one in bindings:
            if free.get(one.round_id, 0) > 0:
                free[one.round_id] -= 1
                wanted.append(one)
            outcomes[one.assignment_id] = "full"
        inserted = _insert(cursor, wanted, now)
        for one in wanted:
            outcomes[one.assignment_id] = "assigned" if one.assignment_id in inserted else "busy"
        _count(cursor, Counter(inserted.values()), now)
    return outcomes


def accept(*, assignment_id: UUID, device_id: UUID, now: datetime) -> None:
    """The device's first word; again renews the lease. Raises StaleAssignment, AssignmentOver."""
    lease = now + timedelta(seconds=knobs.get().lease_s)
    mine = Assignment.objects.filter(id=assignment_id, device_id=device_id)
    first = mine.filter(status=Assignment.Status.BOUND, accepted_at=None)
    if first.update(accepted_at=now, lease_expires_at=lease):
        return
    if mine.filter(status=Assignment.Status.BOUND).update(lease_expires_at=lease):
        return
    _raise_over(assignment_id, device_id)


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
    held = Assignment.objects.filter(id=assignment_id, device_id=device_id).first()
    if held is None:
        raise StaleAssignment(f"this device holds no assignment {assignment_id}")
    Round.objects.select_for_update().get(id=held.round_id)
    moved = Assignment.objects.filter(id=assignment_id, status=Assignment.Status.BOUND).update(
        status=status, code=code[:60], message=message[:500], ended_at=now
    )
    if not moved:
        _raise_over(assignment_id, device_id)
    rounds.count_lost({held.round_id: 1})
    events.append(
        f"assignment.{status}", now=now, tenant_id=held.tenant_id, job_id=held.job_id,
        round_id=held.round_id, assignment_id=held.id, code=code[:60],
    )  # fmt: skip


def renew(*, progress: Sequence[Progress], now: datetime) -> set[UUID]:
    """Renew many leases in one statement; returns the assignments that are no longer bound.

    A row that someone else is changing right now is passed over: its lease has time left, and
    waiting for it could deadlock with the close of its round.
    """
    if not progress:
        return set()
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
        still = Assignment.objects.filter(id__in=ids, status=Assignment.Status.BOUND)
        bound = set(still.values_list("id", flat=True))
        for tenant_id, job_id in set(still.values_list("tenant_id", "job_id")):
            events.changed(tenant_id=tenant_id, job_id=job_id, kind="assignment.progress")
    return set(ids) - bound


def extend_leases(*, now: datetime) -> int:
    """Give every bound assignment a full lease: after an outage of ours, silence proves nothing."""
    lease = now + timedelta(seconds=knobs.get().lease_s)
    late = Assignment.objects.filter(status=Assignment.Status.BOUND, lease_expires_at__lt=lease)
    return late.update(lease_expires_at=lease)


@transaction.atomic
def report(*, assignment_id: UUID, device_id: UUID, now: datetime) -> Reported:
    """Count a report. Runs inside the transaction that makes the update itself durable.

    Raises StaleAssignment, AlreadyReported, RoundClosed, AssignmentOver.
    """
    held = Assignment.objects.filter(id=assignment_id, device_id=device_id).first()
    if held is None:
        raise StaleAssignment(f"this device holds no assignment {assignment_id}")
    round_ = Round.objects.select_for_update().get(id=held.round_id)
    moved = 0
    if round_.status in states.OPEN_ROUND:
        moved = Assignment.objects.filter(id=assignment_id, status=Assignment.Status.BOUND).update(
            status=Assignment.Status.REPORTED, ended_at=now
        )
    if not moved:
        _raise_over(assignment_id, device_id)
    round_.reported += 1
    Round.objects.filter(id=round_.id).update(reported=round_.reported)
    closed = round_.reported >= round_.demand and rounds.close(round_, now=now)
    events.changed(tenant_id=round_.tenant_id, job_id=round_.job_id, kind="assignment.reported")
    return Reported(sequence=round_.reported, round=round_, closed=closed)


@transaction.atomic
def expire(*, now: datetime) -> int:
    """End assignments whose lease ran out; their slots are free again."""
    due = Assignment.objects.filter(status=Assignment.Status.BOUND, lease_expires_at__lt=now)
    found = list(due.values_list("id", "round_id"))
    if not found:
        return 0
    # Rounds first, as everywhere; a report that holds the round's lock wins over its expiry.
    round_ids = {round_id for _, round_id in found}
    list(Round.objects.filter(id__in=round_ids).order_by("id").select_for_update())
    held = Assignment.objects.filter(
        id__in=[one for one, _ in found],
        status=Assignment.Status.BOUND,
        lease_expires_at__lt=now,
    )
    expired = list(held.order_by("id").select_for_update())
    ids = [one.id for one in expired]
    Assignment.objects.filter(id__in=ids).update(
        status=Assignment.Status.EXPIRED, code="lease_expired", ended_at=now
    )
    rounds.count_lost(Counter(one.round_id for one in expired))
    if ids:
        hints.to_gateways({"cancelled": [str(one) for one in ids], "code": "lease_expired"})
    for one in expired:
        events.append(
            "assignment.expired", now=now, tenant_id=one.tenant_id, job_id=one.job_id,
            round_id=one.round_id, assignment_id=one.id,
        )  # fmt: skip
    return len(ids)


def _raise_over(assignment_id: UUID, device_id: UUID) -> None:
    held = Assignment.objects.filter(id=assignment_id, device_id=device_id).first()
    if held is None:
        raise StaleAssignment(f"this device holds no assignment {assignment_id}")
    if held.status == Assignment.Status.REPORTED:
        raise AlreadyReported(f"assignment {assignment_id} has reported")
    if held.code == "round_closed":
        raise RoundClosed("the round is closed; it takes no more reports")
    raise AssignmentOver(f"assignment {assignment_id} is over: {held.status} {held.code}".strip())


def _lock_free_slots(cursor, round_ids: list[UUID]) -> dict[UUID, int]:  # type: ignore[no-untyped-def]
    cursor.execute(
        """
        SELECT r.id, r.target - r.assigned FROM jobs_round r
        WHERE r.id = ANY(%s::uuid[]) AND r.status IN ('selecting', 'executing')
          AND EXISTS (SELECT 1 FROM jobs_job j WHERE j.id = r.job_id AND j.status = 'running')
        ORDER BY r.id FOR UPDATE OF r
        """,
        [round_ids],
    )
    return dict(cursor.fetchall())


def _insert(cursor, wanted: list[Binding], now: datetime) -> dict[UUID, UUID]:  # type: ignore[no-untyped-def]
    if not wanted:
        return {}
    cursor.execute(
        """
        INSERT INTO jobs_assignment (id, tenant_id, job_id, round_id, device_id, status, code,
            message, phase, fraction, plan_version, bound_at, lease_expires_at)
        SELECT w.id, r.tenant_id, r.job_id, r.id, w.device_id, 'bound', '', '', '', 0,
            w.plan_version, %s, %s
        FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[])
            AS w(id, round_id, device_id, plan_version)
        JOIN jobs_round r ON r.id = w.round_id
        ORDER BY w.device_id
        ON CONFLICT DO NOTHING RETURNING id, round_id
        """,
        [
            now,
            now + timedelta(seconds=knobs.get().start_lease_s),
            [one.assignment_id for one in wanted],
            [one.round_id for one in wanted],
            [one.device_id for one in wanted],
            [one.plan_version for one in wanted],
        ],
    )
    return dict(cursor.fetchall())


def _count(cursor, counts: Counter[UUID], now: datetime) -> None:  # type: ignore[no-untyped-def]
    if not counts:
        return
    cursor.execute(
        """
        UPDATE jobs_round r SET assigned = r.assigned + v.n
        FROM unnest(%s::uuid[], %s::int[]) AS v(id, n)
        WHERE r.id = v.id RETURNING r.id, r.assigned >= r.target
        """,
        [list(counts), list(counts.values())],
    )
    filled = [round_id for round_id, full in cursor.fetchall() if full]
    for round_ in Round.objects.filter(id__in=filled, status=Round.Status.SELECTING):
        rounds.start_executing(round_, now=now)
    if filled:
        hints.send("scheduling.plan", queue="scheduling")
    for job in Job.objects.filter(rounds__in=list(counts)).distinct().only("id", "tenant_id"):
        events.changed(tenant_id=job.tenant_id, job_id=job.id, kind="assignment.bound")
