"""Policies × seeds: means with 95 % confidence intervals."""

from __future__ import annotations

import csv
import importlib
import io
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from scheduling import policies
from scheduling.policies import Policy

BASELINES: Mapping[str, Mapping[str, Any]] = {"random": {"each": "round"}}
"""Parameters under which a policy is the baseline of the literature; others take none."""

COLUMNS = (
    "mean_completion_time_s", "p50_completion_time_s", "p95_completion_time_s", "makespan_s",
    "rounds_succeeded", "rounds_aborted", "mean_scheduling_delay_s", "mean_response_time_s",
    "utilisation", "jobs_within_fair_share", "jain",
)  # fmt: skip

T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045,
)  # fmt: skip
"""Student's t for 95 %, by degrees of freedom from 1."""


class UnknownPolicy(ValueError):
    """A policy that is neither in the registry nor at the import path given."""


class NoParquet(RuntimeError):
    """The library that writes Parquet is not installed."""


def load(name: str, parameters: Mapping[str, Any] | None = None) -> Policy:
    """Build a policy by its name, or from outside by import path (``package.module:Class``).

    Raises UnknownPolicy or BadParameters.
    """
    if parameters is None:
        parameters = BASELINES.get(name, {})
    if ":" not in name:
        return policies.make(name, parameters)
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownPolicy(f"{name}: {error}") from error
    return cast(Policy, found(parameters))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % confidence interval (Student's t).

    >>> interval([1.0, 1.0, 1.0])
    (1.0, 0.0)
    """
    count = len(values)
    middle = statistics.fmean(values)
    if count < 2:
        return middle, math.nan
    student = T_95[count - 2] if count - 2 < len(T_95) else 1.96
    return middle, student * statistics.stdev(values) / math.sqrt(count)


def sweep(
    names: Iterable[str], seeds: Sequence[int], run: Callable[[Policy, int], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Run each policy with each seed and return a row a policy: means and interval halves."""
    rows = []
    for name in names:
        reports = [run(load(name), seed) for seed in seeds]
        row: dict[str, Any] = {"policy": name, "seeds": len(seeds)}
        for column in COLUMNS:
            values = [one[column] for one in reports if one[column] is not None]
            middle, half = interval(values) if values else (math.nan, math.nan)
            row |= {column: middle, f"{column}_ci95": half}
        rows.append(row)
    return rows


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as CSV text with a header; empty cells for what is not known."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if _unknown(value) else value for name, value in row.items()})
    return out.getvalue()


def as_parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the rows as a Parquet file; nulls for what is not known. Raises NoParquet."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise NoParquet("Parquet needs pyarrow: pip install pyarrow, or write CSV") from error
    plain = [
        {name: None if _unknown(value) else value for name, value in row.items()} for row in rows
    ]
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(plain), out)
    return out.getvalue()


def _unknown(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
