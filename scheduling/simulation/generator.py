"""A fleet and jobs without files: daily sessions, phones' speeds, links, a mix of job sizes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from scheduling.simulation.traces import PERIOD_S, Fleet, SimulatedJob

DAY_S = 86_400.0
MEDIAN_SESSION_S, SESSION_SIGMA, LONGEST_S = 2_000.0, 2.1, 172_800.0
MEDIAN_MS, MS_SIGMA = 60.0, 0.72
MEDIAN_KBPS, KBPS_SIGMA = 10_000.0, 0.8
CLASSES: Sequence[tuple[frozenset[str], float]] = (
    (frozenset(), 0.04),
    (frozenset("1"), 0.32),
    (frozenset("12"), 0.08),
    (frozenset("13"), 0.13),
    (frozenset("1234"), 0.43),
)
"""Device classes of the AI Benchmark ranking: groups by memory and processor, and their share."""
SHAPES = ((2, 100, 300), (5, 100, 300), (10, 50, 300), (20, 50, 600), (50, 80, 1_000))
"""Participants, rounds and deadline in seconds of the jobs made up."""


def fleet(*, sessions: int = 20_000, per_s: float = 0.5, seed: int = 0) -> Fleet:
    """Return sessions whose starts follow the day: most in the evening, a third of that at dawn.

    Lengths are log-normal (median 2 000 s, σ 2.1, at most 48 h), speeds and link rates too.
    """
    draw = random.Random(seed)
    period = min(PERIOD_S, sessions / per_s)
    starts: list[float] = []
    while len(starts) < sessions:
        at = draw.uniform(0.0, period)
        if draw.random() < (1.0 + 0.5 * math.sin(2 * math.pi * at / DAY_S)) / 1.5:
            starts.append(at)
    starts.sort()
    lengths = [
        min(LONGEST_S, MEDIAN_SESSION_S * math.exp(SESSION_SIGMA * draw.gauss(0, 1)))
        for _ in starts
    ]
    kinds = draw.choices(
        range(len(CLASSES)), weights=[share for _, share in CLASSES], k=len(starts)
    )
    return Fleet(
        starts=starts,
        ends=[start + length for start, length in zip(starts, lengths, strict=True)],
        signatures=kinds,
        groups=tuple(groups for groups, _ in CLASSES),
        computation_ms=[MEDIAN_MS * math.exp(MS_SIGMA * draw.gauss(0, 1)) for _ in starts],
        communication_kbps=[MEDIAN_KBPS * math.exp(KBPS_SIGMA * draw.gauss(0, 1)) for _ in starts],
        period_s=period,
    )


def jobs(
    *, count: int = 20, gap_s: float = 90.0, seed: int = 0, tenants: int = 1
) -> list[SimulatedJob]:
    """Return jobs of mixed sizes that arrive at random, ``gap_s`` apart on average."""
    draw = random.Random(seed)
    made, at = [], 0.0
    for number in range(count):
        participants, rounds, deadline = draw.choice(SHAPES)
        made.append(
            SimulatedJob(
                id=str(number),
                arrival_s=at,
                group=str(number % 4 + 1),
                participants=participants,
                rounds=rounds,
                deadline_s=float(deadline),
                workload_s=30.0,
                tenant=f"tenant-{number % tenants}",
            )
        )
        at += draw.expovariate(1.0 / gap_s)
    return made
