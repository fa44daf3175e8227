"""Commit what the bind script granted: the rows that make a device and a round known as bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from core import events, hints, knobs
from jobs.models import Assignment, Job, Round
from jobs.services import rounds

Outcome = Literal["assigned", "full", "busy"]


@dataclass(frozen=True, slots=True)
class Binding:
    """What the bind script granted, not yet a row."""

    assignment_id: UUID
    round_id: UUID
    device_id: UUID
    plan_version: int


def assign(*, bindings: Sequence[Binding], now: datetime) -> dict[UUID, Outcome]:
    """Commit what the bind script granted, in one transaction.

    ``full``: the round has no slot or is closed. ``busy``: the device holds another assignment
    has had this round, or is revoked. The caller tells only ``assigned`` devices, after this
    returns. A try whose commit was not heard of may be repeated: its rows are found again.
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
        missed = [key for key, outcome in outcomes.items() if outcome != "assigned"]
        outcomes |= dict.fromkeys(_bound_before(missed), "assigned")
    return outcomes


def _bound_before(assignment_ids: list[UUID]) -> list[UUID]:
    if not assignment_ids:
        return []
    rows = Assignment.objects.filter(id__in=assignment_ids, status=Assignment.Status.BOUND)
    return list(rows.values_list("id", flat=True))


def _lock_free_slots(cursor: CursorWrapper, round_ids: list[UUID]) -> dict[UUID, int]:
    cursor.execute(
        """
        SELECT r.id, r.target - r.assigned FROM jobs_round r
        WHERE r.id = ANY(%s::uuid[]) AND r.status IN ('selecting', 'executing')
          AND EXISTS (SELECT 1 FROM jobs_job j WHERE j.id = r.job_id AND j.status = 'running')
        ORDER BY r.id FOR NO KEY UPDATE OF r
        """,
        [round_ids],
    )
    return dict(cursor.fetchall())


def _insert(cursor: CursorWrapper, wanted: list[Binding], now: datetime) -> dict[UUID, UUID]:
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
        JOIN clients_device d ON d.id = w.device_id AND d.status = 'active'
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


def _count(cursor: CursorWrapper, counts: Counter[UUID], now: datetime) -> None:
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
