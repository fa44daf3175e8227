"""Model versions of a job that can still be downloaded, and the best of them by some metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aggregation.models import ModelVersion
from frontend import metric_words
from frontend.asked import HIGHEST, LOWEST, Asked
from frontend.selectors.measures import measure
from jobs.models import Job

PAGE, PAGE_LAST = 50, 100_000
FIELDS = ("number", "size_bytes", "reports", "metrics", "evaluation", "pinned", "created_at")
"""Retention may keep a thousand versions, and the best of all is looked for."""
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
    """A page of the versions, and by what the best of all is marked.

    ``by`` is empty where nothing is measured; ``best_address`` where the best is on this page.
    """

    total: int
    best: int | None
    best_address: str
    newer: str
    older: str
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
    """Return a page of the versions whose tensors are kept, newest first; the best marked."""
    every = list(
        ModelVersion.objects.filter(job=job, released_at=None)
        .exclude(number=0, round=None)
        .order_by("-number")
        .only(*FIELDS)
    )
    known = {name for one in every for name in (*one.metrics, *one.evaluation)}
    by, note = _by(every, known, asked.best)
    order, told = _order(by, asked)
    source = "evaluation" if any(by in one.evaluation for one in every) else "training"
    values = {one.number: _value(one, by, source) for one in every}
    best = _best(values, order)
    page = min(asked.versions, PAGE_LAST, max(1, math.ceil(len(every) / PAGE)))
    rows = every[(page - 1) * PAGE : page * PAGE]
    best_page = next((at // PAGE + 1 for at, one in enumerate(every) if one.number == best), page)
    return Kept(
        total=len(every),
        best=best,
        best_address=asked.link(versions=best_page) if best_page != page else "",
        newer=asked.link(versions=page - 1) if page > 1 else "",
        older=asked.link(versions=page + 1) if page * PAGE < len(every) else "",
        lines=[_line(job, row, by, values.get(row.number), best) for row in rows],
        metrics=metric_words.ordered(known),
        by=by if best is not None else "",
        order=order,
        source=source,
        note=" ".join(one for one in (note, told) if one),
    )


def _line(
    job: Job, row: ModelVersion, by: str, value: float | None, best: int | None
) -> VersionLine:
    return VersionLine(
        number=row.number,
        size_bytes=row.size_bytes,
        reports=row.reports,
        loss=measure(row.evaluation, "loss"),
        accuracy=measure(row.evaluation, "accuracy"),
        chosen="–" if value is None else metric_words.written(by, value),
        is_best=row.number == best,
        is_newest=row.number == job.version,
        is_pinned=row.pinned,
        created_at=row.created_at,
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
