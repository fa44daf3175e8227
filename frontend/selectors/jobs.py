"""Jobs in lists: state in words, progress, newest measures. The same few queries for any number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F, Q, QuerySet

from frontend import words
from jobs import maintenance
from jobs.models import Job, Round

PAGE = 25
SPARK_ROUNDS = 60

OPEN = ~Q(status=Job.Status.FINISHED)
TROUBLE = Q(outcome__in=[Job.Outcome.FAILED, Job.Outcome.REJECTED, Job.Outcome.EXPIRED])
FILTERS: dict[str, tuple[str, Q]] = {
    "": ("All", Q()),
    "active": ("In progress", OPEN),
    "completed": ("Completed", Q(outcome=Job.Outcome.COMPLETED)),
    "trouble": ("Failed or rejected", TROUBLE),
    "cancelled": ("Cancelled", Q(outcome=Job.Outcome.CANCELLED)),
}


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job in a list."""

    id: UUID
    name: str
    state: words.State
    done: int
    total: int
    accuracy: float | None
    spark: str
    submitted_by: str
    submitted_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of the list of jobs."""

    lines: list[JobLine]
    state: str
    search: str
    number: int
    has_next: bool
    has_any: bool
    counts: list[tuple[str, str, int]]


def page(*, state: str, search: str, number: int) -> JobPage:
    """Return one page of this tenant's jobs, newest first."""
    state = state if state in FILTERS else ""
    named = Job.objects.filter(name__icontains=search) if search else Job.objects.all()
    start = (max(1, number) - 1) * PAGE
    rows = list(named.filter(FILTERS[state][1]).order_by("-id")[start : start + PAGE + 1])
    totals = {key: named.filter(condition).count() for key, (_, condition) in FILTERS.items()}
    return JobPage(
        lines=lines(rows[:PAGE]),
        state=state,
        search=search,
        number=max(1, number),
        has_next=len(rows) > PAGE,
        has_any=bool(totals[""]) or bool(search),
        counts=[(key, label, totals[key]) for key, (label, _) in FILTERS.items()],
    )


def lines(jobs: Sequence[Job], *, spark: bool = False) -> list[JobLine]:
    """Return a line for each job, by a few queries however many there are."""
    ids = [job.id for job in jobs]
    current = current_rounds(ids)
    asked = maintenance.in_force()
    held = {job_id: maintenance.held(row, asked) for job_id, row in current.items()}
    accuracy = _accuracies(ids)
    sparks = _sparks(ids) if spark else {}
    return [
        JobLine(
            id=job.id,
            name=job.name,
            state=words.state(job, current.get(job.id), held=held.get(job.id, "")),
            done=job.version,
            total=int(job.spec["rounds"]["count"]),
            accuracy=accuracy.get(job.id),
            spark=sparks.get(job.id, ""),
            submitted_by=job.submitted_by,
            submitted_at=job.submitted_at,
            finished_at=job.finished_at,
        )
        for job in jobs
    ]


def current_rounds(job_ids: Sequence[UUID]) -> dict[UUID, Round]:
    """Return the open round that a job's progress hangs on: training before evaluation."""
    rows = Round.objects.filter(job_id__in=job_ids).exclude(status=Round.Status.FINISHED)
    # "train" sorts after "evaluate", so that it overwrites it.
    return {row.job_id: row for row in rows.order_by("kind", "id")}


def _measured(job_ids: Sequence[UUID]) -> QuerySet[Round]:
    return Round.objects.filter(
        job_id__in=job_ids, outcome=Round.Outcome.COMPLETED, metrics__has_key="accuracy"
    )


def _accuracies(job_ids: Sequence[UUID]) -> dict[UUID, float]:
    """Return each job's newest accuracy, by evaluation if it has any."""
    rows = (
        _measured(job_ids)
        .order_by("job_id", "kind", "-number", "-attempt")
        .distinct("job_id", "kind")
        .values_list("job_id", "metrics")
    )
    found: dict[UUID, float] = {}
    for job_id, metrics in rows:  # "evaluate" comes first and stays
        found.setdefault(job_id, float(metrics["accuracy"]))
    return found


def _sparks(job_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the newest rounds' accuracy as points of a line, 100 wide and 24 high."""
    rows = (
        _measured(job_ids)
        .filter(number__gt=F("job__version") - SPARK_ROUNDS)
        .order_by("job_id", "number")
        .values_list("job_id", "kind", "number", "metrics")
    )
    series: dict[tuple[UUID, str], list[float]] = {}
    for job_id, kind, _, metrics in rows:
        series.setdefault((job_id, kind), []).append(float(metrics["accuracy"]))
    found = {}
    for job_id in job_ids:
        values = series.get((job_id, "evaluate"), [])
        if len(values) < 3:
            values = series.get((job_id, "train"), [])
        if len(values) > 1:
            found[job_id] = _points(values)
    return found


def _points(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = 100 / (len(values) - 1)
    return " ".join(
        f"{index * step:.1f},{22 - 20 * (value - low) / span:.1f}"
        for index, value in enumerate(values)
    )
