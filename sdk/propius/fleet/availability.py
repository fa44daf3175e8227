"""When a virtual device is there: always, or as phones are, by day and by chance.

Times are seconds of the simulated clock; 0 is midnight.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Literal

DAY_S = 86_400.0
MEDIAN_SESSION_S, SESSION_SIGMA, LONGEST_S = 2_000.0, 2.1, 172_800.0
"""Log-normal lengths of sessions, as published traces of phones have them."""
MEAN_GAP_S = 7_000.0
"""With these sessions, two thirds of the devices are there on average."""
SWING = 0.6
PEAK_S = 20 * 3_600.0
TraceName = Literal["always", "diurnal"]
Session = tuple[float, float]
Trace = Callable[[random.Random], Iterator[Session]]


def always(_: random.Random) -> Iterator[Session]:
    """Yield one session without an end."""
    yield 0.0, math.inf


def diurnal(rng: random.Random) -> Iterator[Session]:
    """Yield sessions from 0 on; more of them begin in the evening, when phones charge."""
    # From days before, so that at 0 the fleet is as on any midnight.
    at = -rng.uniform(2, 4) * DAY_S
    while True:
        at = _next_start(at, rng)
        length = MEDIAN_SESSION_S * math.exp(SESSION_SIGMA * rng.gauss(0.0, 1.0))
        end = at + min(LONGEST_S, length)
        if end > 0:
            yield max(0.0, at), end
        at = end


def _next_start(at: float, rng: random.Random) -> float:
    """Draw by thinning: the rate follows the day between 1 - SWING and 1 + SWING of its mean."""
    while True:
        at += rng.expovariate((1 + SWING) / MEAN_GAP_S)
        rate = 1 + SWING * math.cos(2 * math.pi * (at - PEAK_S) / DAY_S)
        if rng.random() * (1 + SWING) < rate:
            return at


def cycle(online_s: float, offline_s: float) -> Trace:
    """Return a trace that comes and goes at fixed times, each device at a moment of its own."""

    def trace(rng: random.Random) -> Iterator[Session]:
        at = rng.uniform(0.0, online_s + offline_s)
        while True:
            yield at, at + online_s
            at += online_s + offline_s

    return trace


TRACES: dict[TraceName, Trace] = {"always": always, "diurnal": diurnal}
