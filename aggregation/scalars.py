"""Weights and metrics of reports, summed: the half of folding that needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Metrics = dict[str, tuple[float, float, int]]
"""Name → sum of weight × value, sum of weights, count of reports that have it."""


def sum_metrics(reports: Iterable[tuple[float, Mapping[str, float]]]) -> Metrics:
    """Sum the scalars of reports, each ``(weight, metrics)``."""
    sums: Metrics = {}
    for weight, metrics in reports:
        for name, value in metrics.items():
            total, weights, count = sums.get(name, (0.0, 0.0, 0))
            sums[name] = (total + weight * value, weights + weight, count + 1)
    return sums


def merge_metrics(parts: Iterable[Metrics]) -> Metrics:
    """Add sums of scalars."""
    sums: Metrics = {}
    for part in parts:
        for name, (total, weights, count) in part.items():
            before = sums.get(name, (0.0, 0.0, 0))
            sums[name] = (before[0] + total, before[1] + weights, before[2] + count)
    return sums


def means(sums: Metrics, *, cohort: int) -> dict[str, float]:
    """Return weighted means of the scalars that at least ``cohort`` reports have."""
    return {
        name: total / weights
        for name, (total, weights, count) in sorted(sums.items())
        if count >= cohort
    }
