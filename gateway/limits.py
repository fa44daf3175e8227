"""How much one device, and all together, may ask of a gateway process."""

from __future__ import annotations

import random

HELLO_S = 10.0
CLOSE_S = 10.0
MAX_SOCKETS = 20_000
MAX_HELLOS = 1_000
"""Hellos under check at once; more would wait longer than their devices do."""

MESSAGES_PER_S = 1000.0
MESSAGES_BURST = 4000.0
"""Generous: credits of a fast download are messages too."""


ATTRIBUTES_PER_S = 0.2
ATTRIBUTES_BURST = 20.0
"""Each change of attributes may be a new profile, which all gateways and planners then know."""

LOOKUPS_AT_ONCE = 8
"""Questions after earlier assignments; each asks the database."""

MAX_VISITS = 500
"""Exchanges of one-shot mode under way at once."""
VISITS_PER_S = 1.0
VISITS_BURST = 30.0
"""Of one device: an assignment takes a handful."""


class Rate:
    """A bucket that holds ``burst`` and fills with ``per_s``."""

    __slots__ = ("_at", "_burst", "_left", "_per_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = self._left = burst
        self._at = 0.0

    def allows(self, now: float) -> bool:
        """Count one at ``now``, in seconds of any monotonic clock."""
        filled = self._left + (now - self._at) * self._per_s
        self._left = min(self._burst, filled) - 1.0
        self._at = now
        return self._left >= 0.0


def pace(waiting: int, per_s: float) -> float:
    """Return when to come back, in seconds, so that ``waiting`` others do not come at once."""
    return random.uniform(1.0, 2.0 + waiting / per_s)
