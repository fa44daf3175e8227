"""What comes beside an update's tensors, or instead of them: a weight and named scalars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aggregation.uploads import UpdateRefused
from core import knobs
from propius.strategies import BY_STEPS, STEPS, name_of

METRICS_MAX = 64
METRIC_NAME_CHARS_MAX = 100
METRIC_MAX = 1e30
NORMALISED = frozenset(name_of(one) for one in BY_STEPS)


@dataclass(frozen=True, slots=True)
class Steps:
    """How many local steps devices of a job may say that they took."""

    local_steps: int | None = None
    epochs: int = 1
    batch_size: int = 1

    def most(self, weight: float) -> float:
        """Return the largest number for a device that says so many examples.

        Twice what they come to: who tells them rounded down to a power of two has up to twice.
        """
        if self.local_steps is not None:
            return self.local_steps
        batches = math.ceil(2 * weight / self.batch_size)
        return min(knobs.get().max_local_steps, self.epochs * batches)


def steps_of(train: Mapping[str, Any]) -> Steps:
    """Return the bound by the section ``train`` of a job's workload."""
    return Steps(**{name: train[name] for name in Steps.__slots__ if name in train})


def steps_by(spec: Mapping[str, Any]) -> Steps | None:
    """Return the bound of a job; None where the strategy does not go by steps."""
    if spec["strategy"]["name"] not in NORMALISED:
        return None
    return steps_of(spec["workload"].get("train", {}))


def check(weight: float, metrics: Mapping[str, float], steps: Steps | None = None) -> None:
    """Check what comes with an update or a report. Raises UpdateRefused (``bad_report``)."""
    errors = {}
    most = knobs.get().max_weight
    if not 0 < weight <= most:
        errors["weight"] = f"{weight!r}; above 0 and at most {most:g} is allowed"
    elif steps is not None and not 0 <= metrics.get(STEPS, 1.0) <= steps.most(weight):
        # One device that says a million would carry the whole model as far in one step.
        errors[f"metrics.{STEPS}"] = (
            f"{metrics[STEPS]!r}; from 0 to {steps.most(weight):g} is allowed by the job's"
            f" training and the weight of {weight:g}"
        )
    if len(metrics) > METRICS_MAX:
        errors["metrics"] = f"{len(metrics)} metrics; at most {METRICS_MAX} are allowed"
    for name, value in list(metrics.items())[:METRICS_MAX]:
        shown = name[:METRIC_NAME_CHARS_MAX]
        if not 1 <= len(name) <= METRIC_NAME_CHARS_MAX or not name.isprintable():
            errors[f"metrics.{shown!r}"] = (
                f"a name has 1 to {METRIC_NAME_CHARS_MAX} printable characters"
            )
        elif not math.isfinite(value) or abs(value) > METRIC_MAX:
            errors[f"metrics.{shown}"] = (
                f"{value!r}; a number between -{METRIC_MAX:g} and {METRIC_MAX:g} is allowed"
            )
    if errors:
        text = "; ".join(f"{field}: {fault}" for field, fault in errors.items())
        raise UpdateRefused("bad_report", text, errors=errors)
