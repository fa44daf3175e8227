"""Constraints on attributes: the platform matches public ones, the device its private ones.

A constraint is a mapping from attribute names to a condition: a bare number means "at least",
otherwise an object with ``min``, ``max`` (both inclusive, numbers) and ``in`` (a list of allowed
values). A device that lacks the attribute does not match.

>>> parse({"cpu_score": 2, "os": {"in": ["linux"]}})["cpu_score"]
Condition(min=2.0, max=None, allowed=None)
>>> matches(parse({"memory_mb": {"min": 512, "max": 4096}}), {"memory_mb": 1024})
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

Scalar = float | int | str | bool
MAX_CONDITIONS = 32


class ConstraintError(ValueError):
    """A constraint that cannot be read; ``field`` is the attribute, the text says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Condition:
    """What one attribute must satisfy. Bounds are inclusive; ``allowed`` is a set of values."""

    min: float | None = None
    max: float | None = None
    allowed: tuple[Scalar, ...] | None = None

    def admits(self, value: Scalar | None) -> bool:
        """Tell whether ``value`` satisfies this condition; a missing value never does."""
        if value is None:
            return False
        if self.allowed is not None:
            return any(type(value) is type(one) and value == one for one in self.allowed) or (
                _is_number(value) and any(_is_number(one) and one == value for one in self.allowed)
            )
        if not _is_number(value):
            return False
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def as_json(self) -> dict[str, Any]:
        """Return the normalised form: only the keys that are set."""
        if self.allowed is not None:
            return {"in": list(self.allowed)}
        bounds = {"min": self.min, "max": self.max}
        return {key: bound for key, bound in bounds.items() if bound is not None}


Constraint = dict[str, Condition]


def parse(raw: Mapping[str, Any]) -> Constraint:
    """Read a constraint mapping.

    Raises
    ------
    ConstraintError
        A condition of the wrong form, with the attribute's name and what is allowed.
    """
    if not isinstance(raw, Mapping):
        raise ConstraintError("", "constraints are an object of attribute names and conditions")
    if len(raw) > MAX_CONDITIONS:
        raise ConstraintError("", f"{len(raw)} conditions; at most {MAX_CONDITIONS} allowed")
    return {str(name): _condition(str(name), raw[name]) for name in sorted(raw)}


def matches(constraint: Constraint, attributes: Mapping[str, Scalar]) -> bool:
    """Tell whether ``attributes`` satisfy every condition of ``constraint``."""
    return all(condition.admits(attributes.get(name)) for name, condition in constraint.items())


def as_json(constraint: Constraint) -> dict[str, Any]:
    """Return the normalised form of a constraint: names sorted, bounds as floats."""
    return {name: constraint[name].as_json() for name in sorted(constraint)}


def _condition(name: str, raw: Any) -> Condition:
    if _is_number(raw):
        return Condition(min=_finite(name, raw))
    if not isinstance(raw, Mapping):
        raise ConstraintError(
            name, f"{_shown(raw)} is no condition; give a number (the minimum) or min, max or in"
        )
    unknown = sorted(set(raw) - {"min", "max", "in"})
    if unknown or not raw:
        keys = f"unknown keys {_shown(unknown)}" if unknown else "an empty condition"
        raise ConstraintError(name, f"{keys}; min, max and in are allowed")
    if "in" in raw:
        return _choice(name, raw)
    low, high = (_finite(name, raw[key]) if key in raw else None for key in ("min", "max"))
    if low is not None and high is not None and low > high:
        raise ConstraintError(name, f"min {low:g} is above max {high:g}")
    return Condition(min=low, max=high)


def _choice(name: str, raw: Mapping[str, Any]) -> Condition:
    allowed = raw["in"]
    if len(raw) > 1:
        raise ConstraintError(name, "in cannot be combined with min or max")
    if not isinstance(allowed, list | tuple) or not 1 <= len(allowed) <= 100:
        raise ConstraintError(
            name, f"in is {_shown(allowed)}; a list of 1 to 100 values is allowed"
        )
    for one in allowed:
        if isinstance(one, float) and not math.isfinite(one):
            raise ConstraintError(name, f"in holds {one!r}; finite numbers are allowed")
        if not isinstance(one, str | int | float | bool):
            raise ConstraintError(
                name, f"in holds {_shown(one)}; numbers, strings and booleans allowed"
            )
    return Condition(allowed=tuple(allowed))


def _finite(name: str, raw: Any) -> float:
    try:
        bound = float(raw) if _is_number(raw) else math.nan
    except OverflowError:  # an integer beyond 1.8e308
        bound = math.inf
    if not math.isfinite(bound):
        raise ConstraintError(name, f"bound {_shown(raw)} is not a finite number")
    return bound


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
