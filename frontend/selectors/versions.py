"""Model versions of a job that can still be downloaded, and the best of them by some metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aggregation.models import ModelVersion
from frontend import metric_words
from frontend.asked import HIGHEST, LOWEST, Asked
from frontend.selectors.measures import measure
from jobs.models import Job

SHOWN = 50
ORDERS = {HIGHEST: "the highest", LOWEST: "the lowest"}


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One kept model version; ``chosen`` is its value of the metric that it is judged by."""

    number: int
    size_bytes: int
    reports: int
    loss: float | None
    accuracy: float | None
    chosen: str
    is_best: bool
    is_newest: bool
    is_pinned: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """The versions, and by what the best is marked: ``by`` is empty where nothing is measured."""

    lines: list[VersionLine]
    metrics: list[str]
    by: str
    order: str
    source: str
    note: str

    @property
    def has_column(self) -> bool:
        """Tell whether the chosen metric is none of those that are always shown."""
        return bool(self.by) and not (self.by in metric_words.FIRST and self.source == "evaluation")


def kept(job: Job, asked: Asked) -> Kept:
    """Return the versions whose tensors are kept, newest first; the best of them marked."""
    rows = list(
        ModelVersion.objects.filter(job=job, released_at=None)
        .exclude(number=0, round=None)
        .order_by("-number")[:SHOWN]
    )
    known = {name for row in rows for name in (*row.metrics, *row.evaluation)}
    by, note = _by(rows, known, asked.best)
    order, told = _order(by, asked)
    source = "evaluation" if any(by in row.evaluation for row in rows) else "training"
    values = {row.number: _value(row, by, source) for row in rows}
    best = _best(values, order)
    return Kept(
        lines=[
            VersionLine(
                number=row.number,
                size_bytes=row.size_bytes,
                reports=row.reports,
                loss=measure(row.evaluation, "loss"),
                accuracy=measure(row.evaluation, "accuracy"),
                chosen="–"
                if (one := values[row.number]) is None
                else metric_words.written(by, one),
                is_best=row.number == best,
                is_newest=row.number == job.version,
                is_pinned=row.pinned,
                created_at=row.created_at,
            )
            for row in rows
        ],
        metrics=metric_words.ordered(known),
        by=by if best is not None else "",
        order=order,
        source=source,
        note=" ".join(one for one in (note, told) if one),
    )


def answer(job: Job) -> list[tuple[str, float]] | None:
    """Return the small parts of a query's newest answer; ``None`` for a job that trains."""
    if job.spec["workload"]["kind"] != "query":
        return None
    rows = ModelVersion.objects.filter(job=job, number__gt=0).order_by("-number")
    metrics = rows.values_list("metrics", flat=True).first() or {}
    return [(name, float(value)) for name, value in metrics.items()]


def _by(rows: Sequence[ModelVersion], known: set[str], asked: str) -> tuple[str, str]:
    """Return the metric to judge by: what was asked for, else what retention judges by."""
    if asked in known:
        return asked, ""
    note = f"No version that is kept has a measure named {asked!r}." if asked else ""
    judged = [name for name in metric_words.FIRST if any(name in row.evaluation for row in rows)]
    return (judged[0] if judged else ""), note


def _order(by: str, asked: Asked) -> tuple[str, str]:
    if asked.order and asked.best == by:
        return asked.order, ""
    known = metric_words.direction(by)
    if known or not by:
        return known or HIGHEST, ""
    return HIGHEST, f"The name {by!r} does not say which is better; the highest is taken."


def _value(row: ModelVersion, by: str, source: str) -> float | None:
    measured: Mapping[str, object] = row.evaluation if source == "evaluation" else row.metrics
    return measure(measured, by)


def _best(values: Mapping[int, float | None], order: str) -> int | None:
    """Return the number of the best, the newest of equals; ``None`` if none has a value."""
    sign = -1 if order == LOWEST else 1
    found = {number: sign * value for number, value in values.items() if value is not None}
    return max(found, key=lambda number: (found[number], number)) if found else None
