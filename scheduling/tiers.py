"""Speed tiers: devices by their CPU score, each tier with its part of the supply. Pure.

Scores are told apart in steps of 20 %, as task times are. So boundaries stand still while supply
moves a little, and what was learnt by step holds for whatever tiers there are later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any

from scheduling.times import LEAST_S, STEP, bucket_of

SCORE = "cpu_score"
UNKNOWN_SPEED = -1
"""Of a device that tells no score: slower than any."""
FASTEST = 1e6
KEPT_TO, BETTER = 1.5, 1.1
"""Boundaries stay while the largest tier is at most so many times its part, or others are hardly
better; each change has every gateway sign all its devices anew."""

Bounds = tuple[int, ...]
"""The least speed of each tier but the slowest, fastest first; empty where all are one tier."""


def speed_of(attributes: Mapping[str, Any]) -> int:
    """Return the speed of a device: the step of its CPU score, or ``UNKNOWN_SPEED``.

    >>> speed_of({"cpu_score": 1.0}), speed_of({"cpu_score": 8}), speed_of({"cpu_score": "8"})
    (12, 24, -1)
    """
    score = attributes.get(SCORE)
    if isinstance(score, bool) or not isinstance(score, int | float) or not score > 0:
        return UNKNOWN_SPEED
    return bucket_of(min(score, FASTEST))


def score_of(speed: int) -> float:
    """Return the least CPU score of a speed.

    >>> round(score_of(12), 2), speed_of({"cpu_score": score_of(12) * 1.01})
    (0.89, 12)
    """
    return float(LEAST_S * STEP**speed)


def tier_of(speed: int, bounds: Bounds) -> int:
    """Return the tier of a speed, 0 the fastest.

    >>> [tier_of(speed, (20, 10)) for speed in (25, 20, 19, 10, -1)]
    [0, 0, 1, 1, 2]
    """
    return sum(speed < bound for bound in bounds)


def in_force(known: Bounds, supply: Mapping[int, float], count: int) -> Bounds:
    """Return the boundaries between at most ``count`` tiers: ``known`` ones while they serve.

    ``supply`` is check-ins per second, or any weight, by speed.
    """
    if not sum(supply.values()) > 0:
        return known
    before = _largest(known, supply)
    if before <= KEPT_TO / count:
        return known
    new = divided(supply, count)
    return new if _largest(new, supply) * BETTER < before else known


def divided(supply: Mapping[int, float], count: int) -> Bounds:
    """Return boundaries as near to equal parts of ``supply`` as steps of speed allow.

    >>> divided({24: 2.0, 12: 1.0, -1: 1.0}, 2), divided({24: 2.0}, 2)
    ((24,), ())
    """
    speeds = sorted((one for one in supply if supply[one] > 0), reverse=True)
    sums = list(accumulate(supply[one] for one in speeds))
    if len(speeds) < 2:
        return ()
    cuts = {
        min(range(len(speeds) - 1), key=lambda at: abs(sums[at] - sums[-1] * part / count))
        for part in range(1, count)
    }
    return tuple(speeds[at] for at in sorted(cuts))


def signed(signature: str, speed: int, bounds: Bounds) -> str:
    """Add the tier to a signature, as its last member; to none without groups or tiers.

    >>> signed("aa+bb", 12, (24,)), signed("", 12, (24,)), signed("aa", 12, ())
    ('aa+bb+~1', '', 'aa')
    """
    return f"{signature}+~{tier_of(speed, bounds)}" if signature and bounds else signature


def members(signature: str) -> tuple[frozenset[str], int | None]:
    """Return the constraint groups of a signature, and its tier if it names one.

    >>> members("aa+~1"), members("")
    ((frozenset({'aa'}), 1), (frozenset(), None))
    """
    groups, _, tier = signature.partition("~")
    return frozenset(filter(None, groups.split("+"))), int(tier) if tier else None


def _largest(bounds: Bounds, supply: Mapping[int, float]) -> float:
    """Return the largest tier's part of the supply."""
    return max(_parts(bounds, supply.items())) / sum(supply.values())


def _parts(bounds: Bounds, supply: Iterable[tuple[int, float]]) -> list[float]:
    parts = [0.0] * (len(bounds) + 1)
    for speed, rate in supply:
        parts[tier_of(speed, bounds)] += rate
    return parts
