"""Jobs in lists: state in words, progress, newest measures. The same few queries for any number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, F, FloatField, Q, QuerySet, When
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Lower

from frontend import metric_words, words
from frontend.selectors.measures import measure
from jobs import maintenance
from jobs.models import Job, Round
from jobs.selectors import OPEN, TROUBLE

PAGE = 25
SPARK_ROUNDS = 60

FILTERS: dict[str, tuple[str, Q]] = {
    "": ("All", Q()),
    "active": ("In progress", OPEN),
    "completed": ("Completed", Q(outcome=Job.Outcome.COMPLETED)),
    "trouble": ("Failed or rejected", TROUBLE),
    "cancelled": ("Cancelled", Q(outcome=Job.Outcome.CANCELLED)),
}
_LIFE = Case(*(When(status=status, then=at) for at, status in enumerate(Job.Status.values)))
_PROGRESS = Cast(F("version"), FloatField()) / Cast(
    KeyTextTransform("count", KeyTextTransform("rounds", "spec")), FloatField()
)
SORTS: dict[str, tuple[str, Any, str]] = {
    "name": ("Job", Lower("name"), "name"),
    "state": ("State", _LIFE, "state"),
    "progress": ("Progress", _PROGRESS, "-progress"),
    "submitted": ("Submitted", F("id"), "-submitted"),
}
"""By a key: a column's head, by what it sorts, and how at the first click."""
NEWEST = "-submitted"


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column: what a click on it asks for, and how it sorts now, if it does."""

    key: str
    label: str
    asks: str
    way: str


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job in a list; ``measured`` is the newest value of ``metric``, empty if there is none."""

    id: UUID
    name: str
    state: words.State
    done: int
    total: int
    metric: str
    measured: str
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
    columns: list[Column]
    sort: str

    @property
    def kept(self) -> dict[str, str]:
        """What other addresses of the list keep of what was asked for, the page apart."""
        asked = (("state", self.state), ("q", self.search), ("sort", self.sort))
        return {name: text for name, text in asked if text}


def page(*, state: str, search: str, number: int, sort: str = "") -> JobPage:
    """Return one page of this tenant's jobs, newest first unless asked otherwise."""
    state = state if state in FILTERS else ""
    sort = sort if sort.removeprefix("-") in SORTS and sort != NEWEST else ""
    named = Job.objects.filter(name__icontains=search) if search else Job.objects.all()
    start = (max(1, number) - 1) * PAGE
    chosen = _sorted(named.filter(FILTERS[state][1]), sort or NEWEST)
    rows = list(chosen[start : start + PAGE + 1])
    totals = {key: named.filter(condition).count() for key, (_, condition) in FILTERS.items()}
    return JobPage(
        lines=lines(rows[:PAGE]),
        state=state,
        search=search,
        number=max(1, number),
        has_next=len(rows) > PAGE,
        has_any=bool(totals[""]) or bool(search),
        counts=[(key, label, totals[key]) for key, (label, _) in FILTERS.items()],
        columns=_columns(sort or NEWEST),
        sort=sort,
    )


def _sorted(jobs: QuerySet[Job], sort: str) -> QuerySet[Job]:
    """Order jobs; those that are equal by the newest, so that no page shows one twice."""
    by = SORTS[sort.removeprefix("-")][1]
    return jobs.order_by(by.desc() if sort.startswith("-") else by.asc(), "-id")


def _columns(sort: str) -> list[Column]:
    """Return the heads of columns: another click on the one that sorts turns it round."""
    by = sort.removeprefix("-")
    way = "descending" if sort.startswith("-") else "ascending"
    turned = by if sort.startswith("-") else f"-{by}"
    return [
        Column(key, label, turned if key == by else first, way if key == by else "")
        for key, (label, _, first) in SORTS.items()
    ]


def lines(
    jobs: Sequence[Job],
    *,
    known: Mapping[UUID, words.State] | None = None,
    spark: bool = False,
) -> list[JobLine]:
    """Return a line for each job, by a few queries however many there are.

    ``known``: their states, where those have been looked up.
    """
    ids = [job.id for job in jobs]
    found = states(jobs) if known is None else known
    measured = _newest(ids)
    sparks = _sparks(ids) if spark else {}
    return [
        JobLine(
            id=job.id,
            name=job.name,
            state=found[job.id],
            done=job.version,
            total=int(job.spec["rounds"]["count"]),
            metric=measured.get(job.id, ("", ""))[0],
            measured=measured.get(job.id, ("", ""))[1],
            spark=sparks.get(job.id, ""),
            submitted_by=job.submitted_by,
            submitted_at=job.submitted_at,
            finished_at=job.finished_at,
        )
        for job in jobs
    ]


def states(jobs: Sequence[Job]) -> dict[UUID, words.State]:
    """Return what each job is doing, in words."""
    current = current_rounds([job.id for job in jobs])
    asked = maintenance.in_force()
    held = {job_id: maintenance.held(row, asked) for job_id, row in current.items()}
    return {
        job.id: words.state(job, current.get(job.id), held=held.get(job.id, "")) for job in jobs
    }


def current_rounds(job_ids: Sequence[UUID]) -> dict[UUID, Round]:
    """Return the open round that a job's progress hangs on: training before evaluation."""
    rows = Round.objects.filter(job_id__in=job_ids).exclude(status=Round.Status.FINISHED)
    # "train" sorts after "evaluate", so that it overwrites it.
    return {row.job_id: row for row in rows.order_by("kind", "id")}


def _newest(job_ids: Sequence[UUID]) -> dict[UUID, tuple[str, str]]:
    """Return each job's newest measure, as (name, value): accuracy before loss before others.

    By evaluation if there is any. Who measures accuracy but now and then is shown its newest.
    """
    completed = Round.objects.filter(job_id__in=job_ids, outcome=Round.Outcome.COMPLETED)
    found: dict[UUID, tuple[str, str]] = {}
    for rows in (completed.filter(metrics__has_key="accuracy"), completed.exclude(metrics={})):
        newest = rows.order_by("job_id", "kind", "-number", "-attempt").distinct("job_id", "kind")
        told: dict[UUID, list[Mapping[str, object]]] = {}
        for job_id, metrics in newest.values_list("job_id", "metrics"):
            told.setdefault(job_id, []).append(metrics)  # "evaluate" comes first
        for job_id, measured in told.items():
            found.setdefault(job_id, _told(measured))
    return {job_id: one for job_id, one in found.items() if one[0]}


def _told(measured: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    for name in metric_words.ordered({name for one in measured for name in one}):
        for one in measured:
            if (value := measure(one, name)) is not None:
                return name, metric_words.written(name, value)
    return "", ""


def _sparks(job_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the newest rounds' accuracy as points of a line, 100 wide and 24 high."""
    rows = (
        Round.objects.filter(
            job_id__in=job_ids,
            outcome=Round.Outcome.COMPLETED,
            metrics__has_key="accuracy",
            number__gt=F("job__version") - SPARK_ROUNDS,
        )
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
