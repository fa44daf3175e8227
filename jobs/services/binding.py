"""Commit what the bind script granted: the rows that make a device and a round known as bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg
from django.db import transaction

from core import events, hints, knobs, statements
from jobs.models import Assignment, Round
from jobs.services import rounds

Outcome = Literal["assigned", "full", "busy"]
Cursor = psycopg.Cursor[Any]


@dataclass(frozen=True, slots=True)
class Binding:
    """What the bind script granted, not yet a row."""

    assignment_id: UUID
    round_id: UUID
    device_id: UUID
    plan_version: int


@dataclass(frozen=True, slots=True)
class Return:
    """What a device gives back: untouched (``declined``) or unfinished (``failed``)."""

    assignment_id: UUID
    device_id: UUID
    status: Literal["declined", "failed"]
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Window:
    """How far a round is, for what devices are told: its status, when that ends, its version."""

    status: str
    ends_at: datetime
    base_version: int


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What became of each binding, and the rounds' windows."""

    outcomes: dict[UUID, Outcome]
    windows: dict[UUID, Window]


@dataclass(slots=True)
class _Held:
    """A round under our lock, and what this batch does to it."""

    tenant_id: UUID
    job_id: UUID
    free: int
    status: str
    ends_at: datetime
    base_version: int
    lost: int = 0
    bound: int = 0

    @property
    def window(self) -> Window:
        """What devices are told of it."""
        return Window(self.status, self.ends_at, self.base_version)


def assign(*, bindings: Sequence[Binding], now: datetime) -> dict[UUID, Outcome]:
    """Commit what the bind script granted, in one transaction.

    ``full``: the round has no slot or is closed. ``busy``: the device holds another assignment
    has had this round, or is revoked. The caller tells only ``assigned`` devices, after this
    returns. A try whose commit was not heard of may be repeated: its rows are found again.
    """
    return exchange(returns=(), bindings=bindings, now=now).outcomes


def exchange(*, returns: Sequence[Return], bindings: Sequence[Binding], now: datetime) -> Exchanged:
    """Take assignments back, then commit bindings as :func:`assign` does; one transaction.

    One commit costs as much as hundreds of rows, and a device that gives back asks again at once.
    What has ended otherwise is passed over.
    """
    while True:
        try:
            return _exchange(returns, bindings, now)
        except _MovedOn:
            # An assignment is in the next buffer of its job since we read its round. That lock
            # after the others would be out of order: let go of all and begin again.
            continue


class _MovedOn(Exception):
    pass


def _exchange(returns: Sequence[Return], bindings: Sequence[Binding], now: datetime) -> Exchanged:
    turns = _turns(bindings)
    with transaction.atomic():
        with statements.pipelined() as run:
            locked = _lock_rounds(run, returns, bindings)
            ended = _end_returned(run, returns, now)
            inserted = _insert(run, bindings, turns, now)
            # All of these are one round trip: a small commit is little else.
            held = {key: _Held(*rest) for key, *rest in locked.fetchall()}
            lost = ended.fetchall() if ended is not None else []
            if not held.keys() >= {round_id for _, round_id, _, _ in lost}:
                raise _MovedOn
            bound = dict(inserted.fetchall()) if inserted is not None else {}
        for round_id, count in Counter(bound.values()).items():
            held[round_id].bound = count
        for _, round_id, _, _ in lost:
            held[round_id].lost += 1
        moved = {key: one for key, one in held.items() if one.bound or one.lost}
        _count(moved, _events(held, lost), now)
        outcomes = {
            one.assignment_id: _outcome(one, turn, held, bound)
            for one, turn in zip(bindings, turns, strict=True)
        }
        missed = [key for key, outcome in outcomes.items() if outcome != "assigned"]
        outcomes |= dict.fromkeys(_bound_before(missed), "assigned")
    return Exchanged(outcomes, {key: one.window for key, one in held.items()})


def _outcome(one: Binding, turn: int, held: dict[UUID, _Held], bound: dict[UUID, UUID]) -> Outcome:
    if one.assignment_id in bound:
        return "assigned"
    round_ = held.get(one.round_id)
    return "busy" if round_ is not None and turn <= round_.free else "full"


def _turns(bindings: Sequence[Binding]) -> list[int]:
    """Number the bindings of each round from 1: as many as it has slots for become rows."""
    counts: Counter[UUID] = Counter()
    turns = []
    for one in bindings:
        counts[one.round_id] += 1
        turns.append(counts[one.round_id])
    return turns


def _bound_before(assignment_ids: list[UUID]) -> list[UUID]:
    if not assignment_ids:
        return []
    rows = Assignment.objects.filter(id__in=assignment_ids, status=Assignment.Status.BOUND)
    return list(rows.values_list("id", flat=True))


def _lock_rounds(
    run: statements.Run, returns: Sequence[Return], bindings: Sequence[Binding]
) -> Cursor:
    """Lock all rounds of the batch by id. A closed one, or of a job that stands, has no slot."""
    return run(
        """
        SELECT r.id, r.tenant_id, r.job_id,
            CASE WHEN r.status IN ('selecting', 'executing') AND EXISTS (
                SELECT 1 FROM jobs_job j
                WHERE j.id = r.job_id AND j.status = 'running' AND j.held = ''
            ) THEN r.target - r.assigned ELSE 0 END,
            r.status, coalesce(r.deadline_at, r.selection_ends_at), r.base_version
        FROM jobs_round r
        WHERE r.id = ANY(%s::uuid[]) OR r.id = ANY(ARRAY(
            SELECT a.round_id FROM jobs_assignment a
            WHERE a.id = ANY(%s::uuid[]) AND a.status = 'bound'
        ))
        ORDER BY r.id FOR NO KEY UPDATE OF r
        """,
        [list({one.round_id for one in bindings}), [one.assignment_id for one in returns]],
    )


def _end_returned(run: statements.Run, returns: Sequence[Return], now: datetime) -> Cursor | None:
    """End what is still bound. What is in a round that we have not locked is undone with all."""
    if not returns:
        return None
    ordered = sorted(returns, key=lambda one: one.assignment_id)
    return run(
        """
        UPDATE jobs_assignment a
        SET status = v.status, code = v.code, message = v.message, ended_at = %s
        FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[])
            AS v(id, device_id, status, code, message)
        WHERE a.id = v.id AND a.device_id = v.device_id AND a.status = 'bound'
        RETURNING a.id, a.round_id, a.status, a.code
        """,
        [
            now,
            [one.assignment_id for one in ordered],
            [one.device_id for one in ordered],
            [one.status for one in ordered],
            [one.code[:60] for one in ordered],
            # A device's own words, which may quote anything; Postgres holds no NUL.
            [one.message[:500].replace("\0", "\ufffd") for one in ordered],
        ],
    )


def _events(held: dict[UUID, _Held], ended: Sequence[Any]) -> list[events.New]:
    return [
        events.New(
            f"assignment.{status}", held[round_id].tenant_id, held[round_id].job_id, round_id,
            assignment_id, {"code": code},
        )
        for assignment_id, round_id, status, code in ended
    ]  # fmt: skip


def _insert(
    run: statements.Run, bindings: Sequence[Binding], turns: Sequence[int], now: datetime
) -> Cursor | None:
    """Insert what fits; the rounds are locked, so their counts are as the lock found them."""
    if not bindings:
        return None
    return run(
        """
        INSERT INTO jobs_assignment (id, tenant_id, job_id, round_id, device_id, status, code,
            message, phase, fraction, plan_version, bound_at, lease_expires_at, base_version,
            base_digest, base_size)
        SELECT w.id, r.tenant_id, r.job_id, r.id, w.device_id, 'bound', '', '', '', 0,
            w.plan_version, %s, %s,
            CASE WHEN r.concurrency IS NOT NULL THEN r.base_version END,
            CASE WHEN r.concurrency IS NOT NULL THEN r.base_digest ELSE '' END,
            CASE WHEN r.concurrency IS NOT NULL THEN r.base_size END
        FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::int[])
            AS w(id, round_id, device_id, plan_version, turn)
        JOIN jobs_round r ON r.id = w.round_id AND w.turn <= r.target - r.assigned
            AND r.status IN ('selecting', 'executing')
        JOIN jobs_job j ON j.id = r.job_id AND j.status = 'running' AND j.held = ''
        JOIN clients_device d ON d.id = w.device_id AND d.status = 'active'
        ORDER BY w.device_id
        ON CONFLICT DO NOTHING RETURNING id, round_id
        """,
        [
            now,
            now + timedelta(seconds=knobs.get().start_lease_s),
            [one.assignment_id for one in bindings],
            [one.round_id for one in bindings],
            [one.device_id for one in bindings],
            [one.plan_version for one in bindings],
            list(turns),
        ],
    )


def _count(moved: dict[UUID, _Held], ended: Sequence[events.New], now: datetime) -> None:
    if not moved:
        return
    with statements.pipelined() as run:
        counted = run(
            """
            UPDATE jobs_round r
            SET assigned = r.assigned + v.bound - v.lost, lost = r.lost + v.lost
            FROM unnest(%s::uuid[], %s::int[], %s::int[]) AS v(id, bound, lost)
            WHERE r.id = v.id RETURNING r.id, r.assigned >= r.target
            """,
            [
                list(moved),
                [one.bound for one in moved.values()],
                [one.lost for one in moved.values()],
            ],
        )
        events.append_many(ended, now=now)
        filled = [key for key, is_full in counted.fetchall() if is_full and moved[key].bound]
    if filled:
        for round_ in Round.objects.filter(id__in=filled, status=Round.Status.SELECTING):
            rounds.start_executing(round_, now=now)
    if filled or any(one.lost for one in moved.values()):
        hints.send("scheduling.plan", queue="scheduling")
    for tenant_id, job_id in {(one.tenant_id, one.job_id) for one in moved.values() if one.bound}:
        events.changed(tenant_id=tenant_id, job_id=job_id, kind="assignment.bound")
