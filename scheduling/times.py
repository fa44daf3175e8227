"""How long tasks take: a rolling histogram, of which median and p95 are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

LEAST_S, STEP = 0.1, 1.2
"""Bucket b holds times from LEAST_S · STEP^b to STEP times that: quantiles are good to 10 %."""
MOST = 1_000.0
"""Beyond as many tasks all counts are halved, so that old ones are forgotten by and by."""


def bucket_of(time_s: float) -> int:
    """Return the bucket of a time; shorter ones than ``LEAST_S`` are in the first.

    >>> bucket_of(0.05), bucket_of(0.11), bucket_of(10.0)
    (0, 0, 25)
    """
    return max(0, math.floor(math.log(max(time_s, LEAST_S) / LEAST_S) / math.log(STEP)))


@dataclass(slots=True)
class Times:
    """Task times by bucket. Memory: some tens of numbers, however many tasks there were."""

    counts: dict[int, float] = field(default_factory=dict)

    def add(self, more: Mapping[int, float]) -> None:
        """Count tasks, by bucket."""
        for bucket, count in more.items():
            self.counts[bucket] = self.counts.get(bucket, 0.0) + count
        while sum(self.counts.values()) > MOST:
            self.counts = {bucket: count / 2 for bucket, count in self.counts.items()}

    def quantile(self, share: float) -> float:
        """Return the time that ``share`` of the tasks took at most, in seconds; 0 if none is known.

        >>> times = Times({25: 90.0, 40: 10.0})
        >>> 9.5 < times.quantile(0.5) < 11.5, 147 < times.quantile(0.95) < 176
        (True, True)
        """
        wanted = share * sum(self.counts.values())
        for bucket, count in sorted(self.counts.items()):
            if count >= wanted > 0:
                return float(LEAST_S * STEP ** (bucket + wanted / count))
            wanted -= count
        return 0.0
