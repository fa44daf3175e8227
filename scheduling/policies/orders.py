"""What policies share: reading number parameters, the wait after which a round goes first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scheduling.policies.base import BadParameters, OpenRound, SignatureSupply

Range = tuple[float, float, float]

MAX_WAIT: Mapping[str, Range] = {"max_wait_s": (3_600.0, 0.0, 31_536_000.0)}
"""Parameter of every policy that could starve a round: default, least and greatest value."""


def numbers(parameters: Mapping[str, Any], allowed: Mapping[str, Range]) -> dict[str, float]:
    """Read number parameters. Raises BadParameters naming each that is unknown or out of range.

    >>> numbers({"max_wait_s": 5}, MAX_WAIT)
    {'max_wait_s': 5.0}
    """
    known = ", ".join(allowed)
    errors = {name: f"unknown; {known} is allowed" for name in parameters if name not in allowed}
    values = {}
    for name, (default, least, most) in allowed.items():
        value = parameters.get(name, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and least <= value <= most:
            values[name] = float(value)
        else:
            errors[name] = f"{value!r}; a number from {least:g} to {most:g} is allowed"
    if errors:
        raise BadParameters(errors)
    return values


def waited(one: OpenRound, now: float, max_wait_s: float) -> bool:
    """Tell whether a round has been open for so long that it goes first; never if 0."""
    return max_wait_s > 0 and now - one.opened_at >= max_wait_s


def quorum(one: OpenRound) -> int:
    """Return the answers that a round needs at least."""
    return one.quorum or one.demand


def eligible_rates(supply: Iterable[SignatureSupply]) -> dict[str, float]:
    """Return the check-ins per second that each group's jobs may take."""
    rates: dict[str, float] = {}
    for one in supply:
        for group in one.groups:
            rates[group] = rates.get(group, 0.0) + one.rate
    return rates
