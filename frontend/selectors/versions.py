"""Model versions of a job that can still be downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aggregation.models import ModelVersion
from jobs.models import Job


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One kept model version."""

    number: int
    size_bytes: int
    reports: int
    loss: float | None
    accuracy: float | None
    is_best: bool
    is_newest: bool
    is_pinned: bool
    created_at: datetime


def kept(job: Job) -> list[VersionLine]:
    """Return the versions whose tensors are kept, newest first; the best by accuracy marked."""
    rows = list(
        ModelVersion.objects.filter(job=job, released_at=None)
        .exclude(number=0, round=None)
        .order_by("-number")[:50]
    )
    evaluated = {row.number: _of(row.evaluation, "accuracy") for row in rows}
    known = {number: value for number, value in evaluated.items() if value is not None}
    best = max(known, key=lambda number: (known[number], number)) if known else None
    return [
        VersionLine(
            number=row.number,
            size_bytes=row.size_bytes,
            reports=row.reports,
            loss=_of(row.evaluation, "loss"),
            accuracy=evaluated[row.number],
            is_best=row.number == best,
            is_newest=row.number == job.version,
            is_pinned=row.pinned,
            created_at=row.created_at,
        )
        for row in rows
    ]


def answer(job: Job) -> list[tuple[str, float]] | None:
    """Return the small parts of a query's newest answer; ``None`` for a job that trains."""
    if job.spec["workload"]["kind"] != "query":
        return None
    rows = ModelVersion.objects.filter(job=job, number__gt=0).order_by("-number")
    metrics = rows.values_list("metrics", flat=True).first() or {}
    return [(name, float(value)) for name, value in metrics.items()]


def _of(measures: dict[str, Any], name: str) -> float | None:
    value = measures.get(name)
    return float(value) if isinstance(value, int | float) else None
