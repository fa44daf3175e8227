"""Phones made up: processors, memory, speeds and links spread as in a real population.

Marginals are quantiles of the 952 phones of the AI-Benchmark ranking, joined by one hidden rank (a
one-factor Gaussian copula fitted to their rank correlations): a phone with a fast processor has
more memory, a newer system and less time per example, as out there. Links are log-normal, with the
median and the spread of published measurements of mobile clients.

References
----------
Ignatov et al., *AI Benchmark: All About Deep Learning on Smartphones in 2019* (arXiv 1910.06663).
Lai et al., *FedScale* (arXiv 2105.11367), for links and data sizes.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from propius.wire import Scalar

SHARES = (0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1.0)
CPU_SCORE = (0.06, 0.54, 1.7, 2.0, 3.1, 6.1, 10.3, 14.6, 16.6, 21.1, 24.8)
SPEED_MS = (9.5, 13.0, 19.0, 23.0, 29.0, 63.0, 109.0, 155.0, 190.0, 496.0, 1495.0)
"""Milliseconds for one example."""
MEMORY_GB = (
    (0.75, 0.001), (1.0, 0.014), (1.5, 0.007), (2.0, 0.073), (3.0, 0.086), (4.0, 0.214),
    (6.0, 0.190), (8.0, 0.281), (12.0, 0.116), (16.0, 0.018),
)  # fmt: skip
ANDROID = (
    (5, 0.025), (6, 0.032), (7, 0.029), (8, 0.030), (9, 0.057), (10, 0.110), (11, 0.246),
    (12, 0.267), (13, 0.204),
)  # fmt: skip
"""Values with their shares; those below the rank take the lower values."""
LOADING_MEMORY, LOADING_ANDROID, LOADING_SPEED = 0.92, 0.77, -0.92
MEDIAN_KBPS, KBPS_SIGMA = 6_000.0, 1.1
UPLINK_SHARE = 0.4
MEDIAN_EXAMPLES, EXAMPLES_SIGMA = 180.0, 0.5
FEWEST, MOST = 10, 2_000
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Phone:
    """One virtual phone; times and rates are those of the real one, before any speed-up."""

    cpu_score: float
    memory_mb: int
    android: int
    speed_ms: float
    down_kbps: float
    up_kbps: float
    examples: int

    def attributes(self) -> dict[str, Scalar]:
        """Return what the phone tells of itself."""
        return {
            "cpu_score": self.cpu_score,
            "memory_mb": self.memory_mb,
            "disk_free_mb": self.memory_mb * 4,
            "cores": 8 if self.memory_mb >= 2048 else 4,
            "os": "android",
            "os_version": self.android,
            "architecture": "arm64",
            "network_kbps": round(self.down_kbps),
            "torch": True,
        }


def chance(seed: int, number: int) -> random.Random:
    """Return what the phone with this number, and its days, are drawn from."""
    return random.Random(f"{seed} {number}")


def name_of(number: int) -> str:
    """Return what the device with this number is called."""
    return f"virtual-{number}"


def draw(rng: random.Random) -> Phone:
    """Return a phone.

    Examples
    --------
    >>> draw(random.Random(1)) == draw(random.Random(1))
    True
    """
    rank = rng.gauss(0.0, 1.0)
    down = MEDIAN_KBPS * math.exp(KBPS_SIGMA * rng.gauss(0.0, 1.0))
    examples = MEDIAN_EXAMPLES * math.exp(EXAMPLES_SIGMA * rng.gauss(0.0, 1.0))
    return Phone(
        cpu_score=round(quantile(CPU_SCORE, _NORMAL.cdf(rank)), 2),
        memory_mb=int(1024 * _pick(MEMORY_GB, _joined(rank, LOADING_MEMORY, rng))),
        android=int(_pick(ANDROID, _joined(rank, LOADING_ANDROID, rng))),
        speed_ms=round(quantile(SPEED_MS, _joined(rank, LOADING_SPEED, rng)), 1),
        down_kbps=round(down, 1),
        up_kbps=round(down * UPLINK_SHARE, 1),
        examples=min(MOST, max(FEWEST, round(examples))),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of phones lie, between those known on a log scale."""
    at = min(len(SHARES) - 2, max(0, bisect_right(SHARES, share) - 1))
    part = (share - SHARES[at]) / (SHARES[at + 1] - SHARES[at])
    return math.exp((1 - part) * math.log(values[at]) + part * math.log(values[at + 1]))


def _joined(rank: float, loading: float, rng: random.Random) -> float:
    own = rng.gauss(0.0, 1.0)
    return _NORMAL.cdf(loading * rank + math.sqrt(1 - loading * loading) * own)


def _pick(values: Sequence[tuple[float, float]], share: float) -> float:
    reached = 0.0
    for value, part in values:
        reached += part
        if share < reached:
            return value
    return values[-1][0]
