"""When to ping a silent line, and when to give it up."""

from __future__ import annotations


class Pulse:
    """Heartbeat of one connection; the caller passes the time in."""

    def __init__(self) -> None:
        self.ping_s = 30.0
        self.heard_at = 0.0
        self.pinged_at: float | None = None

    def heard(self, now: float) -> None:
        """Note that the gateway said something."""
        self.heard_at = now
        self.pinged_at = None

    def pinged(self, now: float) -> None:
        """Note that it was asked for a sign of life."""
        self.pinged_at = now

    def due(self, spoke_at: float) -> float:
        """Return when to ping next or, if the last ping is unanswered, when to give up."""
        if self.pinged_at is not None:
            # Not counted from the last word heard: a laptop that slept has heard nothing either.
            return self.pinged_at + self.ping_s
        return min(self.heard_at, spoke_at) + self.ping_s
