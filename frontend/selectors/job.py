"""One job's page: its state, what it waits for, its open rounds and their devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import redis.exceptions
from django.db.models import Case, Count, F, When, Window
from django.db.models.functions import RowNumber

from aggregation import under_way
from aggregation.under_way import Told
from clients.selectors import pseudonym
from frontend import explanation, words
from frontend.asked import Asked
from frontend.selectors import job_events, measured, measures, rounds
from jobs import maintenance
from jobs import selectors as job_selectors
from jobs.models import Assignment, Job, Round
from jobs.services import JobUnknown
from scheduling import explaining

DEVICES_SHOWN = 100
"""Of each open round."""


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """One device of an open round; ``id`` is its task's."""

    id: UUID
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
    more: int


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
    rounds: rounds.RoundPage
    measured: measured.Measured
    events: job_events.EventPage
    can_pause: bool
    can_resume: bool
    can_cancel: bool


def find(job_id: UUID) -> Job:
    """Return a job of the tenant entered. Raises JobUnknown, for another tenant's job too."""
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        raise JobUnknown(f"no job {job_id}")
    return job


def detail(job: Job, asked: Asked, *, now: datetime) -> JobDetail:
    """Return a job's page, by a fixed number of queries."""
    open_rows = list(job.rounds.exclude(status=Round.Status.FINISHED).order_by("-id"))
    current = next((row for row in open_rows if row.kind == Round.Kind.TRAIN), None)
    worked_on = current or (open_rows[0] if open_rows else None)
    held = maintenance.held(worked_on, maintenance.in_force()) if worked_on else ""
    found = measured.measured(job, asked)
    is_open = job_selectors.owns_its_pools(job)
    total = int(job.spec["rounds"]["count"])
    open_job = job.status != Job.Status.FINISHED
    return JobDetail(
        job=job,
        state=words.state(job, worked_on, held=held),
        why=_why(job, current, now, held=held),
        total=total,
        percent=min(100, round(100 * job.version / total)),
        accuracy=measures.newest(found.own, "accuracy"),
        loss=measures.newest(found.own, "loss"),
        open_rounds=_open_rounds(job, open_rows, is_open=is_open),
        rounds=rounds.page(job, asked, now=now, is_open=is_open),
        measured=found,
        events=job_events.page(job, asked, is_open=is_open),
        can_pause=job.status == Job.Status.RUNNING,
        can_resume=job.status == Job.Status.PAUSED,
        can_cancel=open_job,
    )


def _why(job: Job, current: Round | None, now: datetime, *, held: str) -> list[tuple[str, str]]:
    """Say what stands behind a wait for devices; nothing while Redis, which knows it, is away."""
    if held and job.status == Job.Status.RUNNING:
        text = "Windows and deadlines are put off meanwhile: no round fails by it."
        return [("Maintenance", text)]
    if current is None or current.status != Round.Status.SELECTING:
        return []
    try:
        return explanation.facts(explaining.explain(job, now=now))
    except redis.exceptions.RedisError:
        return []


def _open_rounds(job: Job, rows: Iterable[Round], *, is_open: bool) -> list[OpenRound]:
    ordered = sorted(rows, key=lambda row: row.kind, reverse=True)
    devices: dict[UUID, list[DeviceLine]] = {row.id: [] for row in ordered}
    kinds = {row.id: row.kind for row in ordered}
    held, taken = _held(list(devices))
    moving = _moving(held)
    for one in held:
        line = _device(one, kinds[one.round_id], moving.get(one.id), is_open=is_open)
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
            more=taken.get(row.id, 0) - len(devices[row.id]),
        )
        for row in ordered
    ]


def _held(rounds: Sequence[UUID]) -> tuple[list[Assignment], dict[UUID, int]]:
    """Return the tasks shown of each round, those at work first, and how many each has in all."""
    rank = Case(When(status=Assignment.Status.BOUND, then=0), default=1)
    placed = Assignment.objects.filter(round_id__in=rounds).annotate(
        place=Window(RowNumber(), partition_by="round_id", order_by=[rank, F("id")]),
        of=Window(Count("id"), partition_by="round_id"),
    )
    held: list[Any] = list(placed.filter(place__lte=DEVICES_SHOWN).order_by("round_id", "place"))
    return held, {one.round_id: one.of for one in held}


def _moving(held: Iterable[Assignment]) -> dict[UUID, Told]:
    """Return the transfers under way; none while Redis, which knows them, is away."""
    bound = [one.id for one in held if one.status == Assignment.Status.BOUND]
    try:
        return under_way.of(bound)
    except redis.exceptions.RedisError:
        return {}


def _device(one: Assignment, kind: str, told: Told | None, *, is_open: bool) -> DeviceLine:
    bound = one.status == Assignment.Status.BOUND
    phase, share, figures = one.phase, one.fraction, ""
    if told is not None:
        phase = "downloading" if told.direction == "down" else "uploading"
        share = told.done_bytes / max(1, told.size_bytes)
        figures = words.transfer(told.done_bytes, told.size_bytes, told.bytes_per_s)
    doing = words.assignment(one.status, phase, accepted=one.accepted_at is not None)
    # Its own words may quote anything: those of others' devices are their owners' business.
    if one.message and not bound and is_open:
        doing = f"{doing}: {one.message}"
    return DeviceLine(
        id=one.id,
        name=pseudonym(one.tenant_id, one.device_id),
        kind=kind,
        status=one.status,
        doing=doing,
        figures=figures,
        percent=round(100 * share) if bound and phase else None,
        since=one.ended_at or one.bound_at,
    )
