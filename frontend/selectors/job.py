"""One job's page: its state, what it waits for, its open rounds and their devices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import redis.exceptions

from aggregation import under_way
from aggregation.under_way import Told
from clients.selectors import pseudonym
from frontend import explanation, words
from frontend.selectors import measures, rounds
from jobs.models import Assignment, Job, Round
from jobs.services import JobUnknown
from scheduling import explaining

ROUNDS_SHOWN = 12
DEVICES_SHOWN = 100


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """One device of an open round."""

    name: str
    kind: str
    status: str
    doing: str
    figures: str
    percent: int | None
    since: datetime


@dataclass(frozen=True, slots=True)
class OpenRound:
    """A round that has not ended, and its devices."""

    kind: str
    number: int
    attempt: int
    status: str
    demand: int
    target: int
    concurrency: int | None
    assigned: int
    at_work: int
    reported: int
    lost: int
    selection_ends_at: datetime
    deadline_at: datetime | None
    devices: list[DeviceLine]


@dataclass(frozen=True, slots=True)
class JobDetail:
    """Everything that a job's page shows, beside its versions."""

    job: Job
    state: words.State
    why: list[tuple[str, str]]
    total: int
    percent: int
    accuracy: measures.Newest | None
    loss: measures.Newest | None
    open_rounds: list[OpenRound]
    rounds: list[rounds.RoundLine]
    rounds_more: int
    chart: measures.Chart
    can_pause: bool
    can_resume: bool
    can_cancel: bool


def find(job_id: UUID) -> Job:
    """Return a job of the tenant entered. Raises JobUnknown, for another tenant's job too."""
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        raise JobUnknown(f"no job {job_id}")
    return job


def detail(job: Job, *, now: datetime, all_rounds: bool = False) -> JobDetail:
    """Return a job's page, by a fixed number of queries."""
    shown = 1000 if all_rounds else ROUNDS_SHOWN
    rows = list(job.rounds.order_by("-id")[: shown + 1])
    open_rows = [row for row in rows if row.status != Round.Status.FINISHED]
    current = next((row for row in open_rows if row.kind == Round.Kind.TRAIN), None)
    chart = measures.series(job)
    total = int(job.spec["rounds"]["count"])
    open_job = job.status != Job.Status.FINISHED
    return JobDetail(
        job=job,
        state=words.state(job, current or (open_rows[0] if open_rows else None)),
        why=_why(job, current, now),
        total=total,
        percent=min(100, round(100 * job.version / total)),
        accuracy=measures.newest(chart, "accuracy"),
        loss=measures.newest(chart, "loss"),
        open_rounds=_open_rounds(job, open_rows),
        rounds=rounds.round_lines(rows[:shown]),
        rounds_more=job.rounds.count() - shown if len(rows) > shown else 0,
        chart=chart,
        can_pause=job.status == Job.Status.RUNNING,
        can_resume=job.status == Job.Status.PAUSED,
        can_cancel=open_job,
    )


def _why(job: Job, current: Round | None, now: datetime) -> list[tuple[str, str]]:
    """Say what stands behind a wait for devices; nothing while Redis, which knows it, is away."""
    if current is None or current.status != Round.Status.SELECTING:
        return []
    try:
        return explanation.facts(explaining.explain(job, now=now))
    except redis.exceptions.RedisError:
        return []


def _open_rounds(job: Job, rows: Iterable[Round]) -> list[OpenRound]:
    ordered = sorted(rows, key=lambda row: row.kind, reverse=True)
    devices: dict[UUID, list[DeviceLine]] = {row.id: [] for row in ordered}
    kinds = {row.id: row.kind for row in ordered}
    held = list(
        Assignment.objects.filter(round_id__in=list(devices)).order_by("id")[:DEVICES_SHOWN]
    )
    moving = _moving(held)
    for one in held:
        line = _device(job.tenant_id, one, kinds[one.round_id], moving.get(one.id))
        devices[one.round_id].append(line)
    return [
        OpenRound(
            kind=row.kind,
            number=row.number,
            attempt=row.attempt,
            status=row.status,
            demand=row.demand,
            target=row.target,
            concurrency=row.concurrency,
            assigned=row.assigned,
            at_work=row.assigned - row.reported,
            reported=row.reported,
            lost=row.lost,
            selection_ends_at=row.selection_ends_at,
            deadline_at=row.deadline_at,
            devices=devices[row.id],
        )
        for row in ordered
    ]


def _moving(held: Iterable[Assignment]) -> dict[UUID, Told]:
    """Return the transfers under way; none while Redis, which knows them, is away."""
    bound = [one.id for one in held if one.status == Assignment.Status.BOUND]
    try:
        return under_way.of(bound)
    except redis.exceptions.RedisError:
        return {}


def _device(tenant_id: UUID, one: Assignment, kind: str, told: Told | None) -> DeviceLine:
    bound = one.status == Assignment.Status.BOUND
    phase, share, figures = one.phase, one.fraction, ""
    if told is not None:
        phase = "downloading" if told.direction == "down" else "uploading"
        share = told.done_bytes / max(1, told.size_bytes)
        figures = words.transfer(told.done_bytes, told.size_bytes, told.bytes_per_s)
    doing = words.assignment(one.status, phase, accepted=one.accepted_at is not None)
    if one.message and not bound:
        doing = f"{doing}: {one.message}"
    return DeviceLine(
        name=pseudonym(tenant_id, one.device_id),
        kind=kind,
        status=one.status,
        doing=doing,
        figures=figures,
        percent=round(100 * share) if bound and phase else None,
        since=one.ended_at or one.bound_at,
    )
