"""Loss and accuracy by round: for the chart, its table and the newest figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q

from jobs.models import Job, Round

CHART_POINTS = 400

Chart = dict[str, list[dict[str, float]]]


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest measure, and where it is from."""

    value: float
    source: str


def series(job: Job) -> Chart:
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
    found: Chart = {
        f"{kind}_{name}": [] for kind in Round.Kind.values for name in ("loss", "accuracy")
    }
    for kind, number, base_version, metrics in rows:
        x = number if kind == Round.Kind.TRAIN else base_version
        for name in ("loss", "accuracy"):
            value = measure(metrics, name)
            if value is not None:
                found[f"{kind}_{name}"].append({"x": x, "y": value})
    return found


def chart_rows(chart: Chart) -> list[dict[str, float | None]]:
    """Return the chart as table rows, newest round first."""
    by_round: dict[float, dict[str, float | None]] = {}
    for name, points in chart.items():
        for point in points:
            row = by_round.setdefault(point["x"], {"round": point["x"], **dict.fromkeys(chart)})
            row[name] = point["y"]
    return [by_round[x] for x in sorted(by_round, reverse=True)]


def newest(chart: Chart, name: str) -> Newest | None:
    """Return the newest value of a measure, by evaluation if there is any."""
    for kind, label in (("evaluate", "evaluation"), ("train", "training")):
        if chart[f"{kind}_{name}"]:
            point = chart[f"{kind}_{name}"][-1]
            return Newest(point["y"], f"{label}, round {point['x']:.0f}")
    return None


def measure(metrics: dict[str, Any], name: str) -> float | None:
    """Return a measure if it was reported."""
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) else None
