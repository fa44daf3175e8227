"""What rounds measured, as series by the metric's name: for charts, tables and newest figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Q, Value, Window
from django.db.models.functions import Greatest, Mod, RowNumber

from jobs.models import Job, Round

POINTS, POINTS_LEAST = 200, 60
"""Of one series; of many that are drawn over each other, fewer."""
KINDS: dict[str, str] = {
    Round.Kind.EVALUATE: "evaluation",
    Round.Kind.TRAIN: "training",
}
"""What measures, the more telling first, and its word."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value: of the model that round ``number`` made, measured ``at``."""

    number: int
    at: datetime
    value: float


Series = dict[tuple[str, str], list[Point]]
"""By (kind of round, name of the metric), in the order of rounds."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest measure, and where it is from."""

    value: float
    source: str


def series(jobs: Sequence[Job]) -> dict[UUID, Series]:
    """Return all that each job's rounds measured, thinned evenly, by one query.

    What evaluation measures is the model that its round started from.
    """
    found: dict[UUID, Series] = {job.id: {} for job in jobs}
    most = max(POINTS_LEAST, POINTS // len(jobs))
    same = [F("job_id"), F("kind")]
    rows = (
        Round.objects.filter(job__in=list(found), outcome=Round.Outcome.COMPLETED)
        .annotate(
            place=Window(RowNumber(), partition_by=same, order_by=[F("number"), F("attempt")]),
            of=Window(Count("id"), partition_by=same),
        )
        .annotate(phase=Mod(F("place"), Greatest(Value(1), (F("of") + most - 1) / Value(most))))
        .filter(Q(phase=0) | Q(place=F("of")))
        .order_by("number", "attempt")
        .values_list("job_id", "kind", "number", "base_version", "finished_at", "metrics")
    )
    for job_id, kind, number, base_version, at, metrics in rows:
        made = number if kind == Round.Kind.TRAIN else base_version
        for name, value in metrics.items():
            if at is not None and isinstance(value, int | float):
                point = Point(made, at, float(value))
                found[job_id].setdefault((kind, name), []).append(point)
    return found


def names(found: Iterable[Series]) -> set[str]:
    """Return the metrics that there are."""
    return {name for one in found for _, name in one}


def newest(found: Series, name: str) -> Newest | None:
    """Return the newest value of a measure, by evaluation if there is any."""
    for kind, label in KINDS.items():
        points = found.get((kind, name))
        if points:
            return Newest(points[-1].value, f"{label}, round {points[-1].number}")
    return None


def measure(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return a measure if it was reported."""
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) else None
