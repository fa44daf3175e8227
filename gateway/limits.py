"""How much one device, and all together, may ask of a gateway process."""

from __future__ import annotations

import random

HELLO_S = 10.0
CLOSE_S = 10.0
MAX_SOCKETS = 20_000
MAX_HELLOS = 2_000
"""Hellos under check at once; more would wait longer than their devices do."""

MESSAGES_PER_S = 1000.0
MESSAGES_BURST = 4000.0
"""Generous: credits of a fast download are messages too."""


class Rate:
    """A bucket of messages that fills with time."""

    __slots__ = ("_at", "_left")

    def __init__(self) -> None:
        self._left = MESSAGES_BURST
        self._at = 0.0

    def allows(self, now: float) -> bool:
        """Count one message at ``now``, in seconds of any monotonic clock."""
        self._left = min(MESSAGES_BURST, self._left + (now - self._at) * MESSAGES_PER_S) - 1.0
        self._at = now
        return self._left >= 0.0


def pace(waiting: int, per_s: float) -> float:
    """Return when to come back, in seconds, so that ``waiting`` others do not come at once."""
    return random.uniform(1.0, 2.0 + waiting / per_s)
