"""One job's page: state, open rounds with their devices, past rounds, measures by round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import redis.exceptions
from django.db.models import Count, F, Q

from clients.selectors import SMALL, pseudonym
from core.errors import NotFound
from frontend import words
from jobs.models import Assignment, Job, Round
from scheduling import selectors as scheduling_selectors

ROUNDS_SHOWN = 12
DEVICES_SHOWN = 100
CHART_POINTS = 400


class JobUnknown(NotFound):
    """No such job in this tenant."""

    code = "job_unknown"


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """One device of an open round."""

    name: str
    kind: str
    status: str
    doing: str
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
    assigned: int
    reported: int
    lost: int
    selection_ends_at: datetime
    deadline_at: datetime | None
    devices: list[DeviceLine]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a round's time, in hundredths of the longest round shown."""

    kind: str
    start: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class RoundLine:
    """A round in the table of rounds."""

    kind: str
    number: int
    attempt: int
    status: str
    outcome: str
    reason: str
    demand: int
    reported: int
    late: int
    failed: int
    loss: float | None
    accuracy: float | None
    took: str
    pieces: list[Piece]
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class JobDetail:
    """Everything that a job's page shows, beside its versions."""

    job: Job
    state: words.State
    why: str
    total: int
    percent: int
    accuracy: float | None
    loss: float | None
    open_rounds: list[OpenRound]
    rounds: list[RoundLine]
    rounds_more: int
    chart: dict[str, list[dict[str, float]]]
    can_pause: bool
    can_resume: bool
    can_cancel: bool


def find(job_id: UUID) -> Job:
    """Return a job of the tenant entered. Raises JobUnknown, for another tenant's job too."""
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        raise JobUnknown(f"no job {job_id}")
    return job


def detail(job: Job, *, all_rounds: bool = False) -> JobDetail:
    """Return a job's page, by a fixed number of queries."""
    shown = 1000 if all_rounds else ROUNDS_SHOWN
    rows = list(job.rounds.order_by("-id")[: shown + 1])
    open_rows = [row for row in rows if row.status != Round.Status.FINISHED]
    current = next((row for row in open_rows if row.kind == Round.Kind.TRAIN), None)
    chart = series(job)
    total = int(job.spec["rounds"]["count"])
    open_job = job.status != Job.Status.FINISHED
    return JobDetail(
        job=job,
        state=words.state(job, current or (open_rows[0] if open_rows else None)),
        why=_why(job, current),
        total=total,
        percent=min(100, round(100 * job.version / total)),
        accuracy=_newest(chart, "accuracy"),
        loss=_newest(chart, "loss"),
        open_rounds=_open_rounds(job, open_rows),
        rounds=_round_lines(rows[:shown]),
        rounds_more=job.rounds.count() - shown if len(rows) > shown else 0,
        chart=chart,
        can_pause=job.status == Job.Status.RUNNING,
        can_resume=job.status == Job.Status.PAUSED,
        can_cancel=open_job,
    )


def series(job: Job) -> dict[str, list[dict[str, float]]]:
    """Return loss and accuracy by round, thinned evenly; x is the round that made the model.

    What evaluation measures is the model that its round started from.
    """
    step = max(1, job.version // CHART_POINTS)
    rows = (
        job.rounds.filter(outcome=Round.Outcome.COMPLETED)
        .annotate(phase=F("number") % step)
        .filter(Q(phase=0) | Q(number__gt=job.version - 50) | Q(kind=Round.Kind.EVALUATE))
        .order_by("number", "attempt")
        .values_list("kind", "number", "base_version", "metrics")
    )
    found: dict[str, list[dict[str, float]]] = {
        f"{kind}_{measure}": [] for kind in Round.Kind.values for measure in ("loss", "accuracy")
    }
    for kind, number, base_version, metrics in rows:
        x = number if kind == Round.Kind.TRAIN else base_version
        for measure in ("loss", "accuracy"):
            value = _measure(metrics, measure)
            if value is not None:
                found[f"{kind}_{measure}"].append({"x": x, "y": value})
    return found


def chart_rows(chart: dict[str, list[dict[str, float]]]) -> list[dict[str, float | None]]:
    """Return the chart as table rows, newest round first."""
    by_round: dict[float, dict[str, float | None]] = {}
    for name, points in chart.items():
        for point in points:
            row = by_round.setdefault(point["x"], {"round": point["x"], **dict.fromkeys(chart)})
            row[name] = point["y"]
    return [by_round[x] for x in sorted(by_round, reverse=True)]


def _why(job: Job, current: Round | None) -> str:
    """Say what stands behind a wait for devices; nothing while Redis, which knows it, is away."""
    running = job.status == Job.Status.RUNNING
    if not running or current is None or current.status != Round.Status.SELECTING:
        return ""
    try:
        found = scheduling_selectors.contention(job)
    except redis.exceptions.RedisError:
        return ""
    return words.eligible(
        idle=found.idle,
        busy=found.busy,
        held=found.held,
        ceiling=found.ceiling,
        hide_below=SMALL,
    )


def _newest(chart: dict[str, list[dict[str, float]]], measure: str) -> float | None:
    for kind in ("evaluate", "train"):
        if chart[f"{kind}_{measure}"]:
            return chart[f"{kind}_{measure}"][-1]["y"]
    return None


def _measure(metrics: dict[str, Any], name: str) -> float | None:
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) else None


def _open_rounds(job: Job, rows: Iterable[Round]) -> list[OpenRound]:
    ordered = sorted(rows, key=lambda row: row.kind, reverse=True)
    devices: dict[UUID, list[DeviceLine]] = {row.id: [] for row in ordered}
    kinds = {row.id: row.kind for row in ordered}
    held = Assignment.objects.filter(round_id__in=list(devices)).order_by("id")
    for one in held[:DEVICES_SHOWN]:
        devices[one.round_id].append(_device(job.tenant_id, one, kinds[one.round_id]))
    return [
        OpenRound(
            kind=row.kind,
            number=row.number,
            attempt=row.attempt,
            status=row.status,
            demand=row.demand,
            target=row.target,
            assigned=row.assigned,
            reported=row.reported,
            lost=row.lost,
            selection_ends_at=row.selection_ends_at,
            deadline_at=row.deadline_at,
            devices=devices[row.id],
        )
        for row in ordered
    ]


def _device(tenant_id: UUID, one: Assignment, kind: str) -> DeviceLine:
    bound = one.status == Assignment.Status.BOUND
    doing = words.assignment(one.status, one.phase, accepted=one.accepted_at is not None)
    if one.message and not bound:
        doing = f"{doing}: {one.message}"
    return DeviceLine(
        name=pseudonym(tenant_id, one.device_id),
        kind=kind,
        status=one.status,
        doing=doing,
        percent=round(100 * one.fraction) if bound and one.phase else None,
        since=one.ended_at or one.bound_at,
    )


def _round_lines(rows: list[Round]) -> list[RoundLine]:
    ends = Count("id", filter=Q(status__in=["expired", "cancelled"]))
    failed = Count("id", filter=Q(status__in=["failed", "declined"]))
    counts = {
        found["round_id"]: found
        for found in Assignment.objects.filter(round__in=[row.id for row in rows])
        .values("round_id")
        .annotate(late=ends, failed=failed)
    }
    longest = max((_seconds(row.opened_at, row.finished_at) for row in rows), default=0.0) or 1.0
    none = {"late": 0, "failed": 0}
    return [_round_line(row, counts.get(row.id, none), longest) for row in rows]


def _round_line(row: Round, counts: dict[str, int], longest: float) -> RoundLine:
    took = _seconds(row.opened_at, row.finished_at)
    return RoundLine(
        kind=row.kind,
        number=row.number,
        attempt=row.attempt,
        status=row.status,
        outcome=row.outcome,
        reason=str(row.reason.get("message") or ""),
        demand=row.demand,
        reported=row.reported,
        late=counts["late"],
        failed=counts["failed"],
        loss=_measure(row.metrics, "loss"),
        accuracy=_measure(row.metrics, "accuracy"),
        took=words.duration(took) if row.finished_at else "",
        pieces=_pieces(row, longest) if row.finished_at else [],
        opened_at=row.opened_at,
    )


def _pieces(row: Round, longest: float) -> list[Piece]:
    """Return when a finished round selected, executed and aggregated."""
    marks = [row.opened_at, row.executing_at, row.closed_at, row.finished_at]
    pieces, start = [], 0.0
    since = row.opened_at
    for kind, until in zip(("selecting", "executing", "aggregating"), marks[1:], strict=True):
        if until is None:
            continue
        seconds = _seconds(since, until)
        width = 100 * seconds / longest
        pieces.append(
            Piece(kind, round(start, 2), round(width, 2), f"{kind} {words.duration(seconds)}")
        )
        start, since = start + width, until
    return pieces


def _seconds(since: datetime, until: datetime | None) -> float:
    return max(0.0, (until - since).total_seconds()) if until else 0.0
