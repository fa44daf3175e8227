"""What a fleet saw: counts, times and bytes, for the terminal and as JSON."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any

from propius import wire
from propius.agent.events import Note

EXPIRED = frozenset({"lease_expired", "assignment_over"})
SHARES = (50, 90, 95, 99)
TIMES = ("bind", "download", "compute", "upload", "assignment")
"""From check-in to assignment; of the three parts of work; from assignment to acceptance."""


class Record:
    """One for the whole fleet; every device adds to it."""

    def __init__(self, devices: int) -> None:
        self.devices = devices
        self.counts: Counter[str] = Counter()
        self.codes: dict[str, Counter[str]] = {
            name: Counter() for name in ("declined", "refused", "failed", "cancelled", "retried")
        }
        self.times: dict[str, array[float]] = {name: array("d") for name in TIMES}
        self.bytes = Counter(down=0, up=0)
        self.stopped: Counter[str] = Counter()
        self.online = self.working = 0
        self._online_s = self._working_s = 0.0
        self._began = self._at = time.monotonic()

    def took(self, what: str, seconds: float) -> None:
        """Add a time."""
        self.times[what].append(seconds)

    def moved(self, *, online: int = 0, working: int = 0) -> None:
        """Count a device that came (+1) or went (-1), took work or let it go."""
        self._add_up()
        self.online += online
        self.working += working

    def noted(self, note: Note) -> None:
        """Count what a device's session notes."""
        name, code = note.event, str(note.fields.get("code", ""))
        match name:
            case "session.ready":
                self.counts["sign_ins"] += 1
            case "assignment.taken":
                self.counts["binds"] += 1
            case "assignment.accepted":
                self.counts["accepted"] += 1
            case "assignment.declined" | "offer.refused":
                self.codes["declined"][code] += 1
            case "assignment.cancelled":
                self.codes["cancelled"][code] += 1
            case "assignment.lost" | "assignment.given_up":
                self.codes["cancelled"]["lost"] += 1
            case "assignment.failed":
                self.codes["failed"][code] += 1
            case "assignment.late" | "session.refused":
                self.codes["refused"][code] += 1
            case "session.retry":
                self.codes["retried"][code] += 1

    @property
    def expired(self) -> int:
        """Return how many assignments ended by the clock and not by the device."""
        return sum(n for code, n in self.codes["cancelled"].items() if code in EXPIRED | {"lost"})

    def line(self) -> str:
        """Return the state of the fleet in a line."""
        seconds = time.monotonic() - self._began
        declined = sum(self.codes["declined"].values())
        return (
            f"{seconds:6.0f} s  online {self.online} of {self.devices}, working {self.working} | "
            f"binds {self.counts['binds']}, accepted {self.counts['accepted']}, declined "
            f"{declined}, expired {self.expired}, vanished {self.counts['vanished']} | down "
            f"{self.bytes['down'] / 1e6:.1f} MB, up {self.bytes['up'] / 1e6:.1f} MB"
        )

    def report(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything, to be written as JSON."""
        self._add_up()
        seconds = time.monotonic() - self._began
        return {
            "options": dict(options),
            "devices": self.devices,
            "seconds": round(seconds, 3),
            "counts": {
                name: self.counts[name]
                for name in (
                    "connections", "unreachable", "sign_ins", "check_ins", "idle", "offers",
                    "binds", "accepted", "vanished",
                )
            },
            **{name: dict(found) for name, found in self.codes.items()},
            "expired": self.expired,
            "stopped": dict(self.stopped),
            "bytes": dict(self.bytes),
            "online_mean": round(self._online_s / seconds, 2) if seconds else 0.0,
            "utilisation": round(self._working_s / self._online_s, 4) if self._online_s else 0.0,
            "seconds_by_percentile": {name: percentiles(one) for name, one in self.times.items()},
        }  # fmt: skip

    def _add_up(self) -> None:
        now = time.monotonic()
        self._online_s += self.online * (now - self._at)
        self._working_s += self.working * (now - self._at)
        self._at = now


class Sight:
    """What one device sees, added to the record."""

    __slots__ = ("_begun_at", "_checked_in_at", "_holds", "_record", "_taken_at", "_trained_at")

    def __init__(self, record: Record) -> None:
        self._record = record
        self._holds: str | None = None
        self._checked_in_at = self._taken_at = self._begun_at = self._trained_at = 0.0

    def received(self, size_bytes: int) -> None:
        """Count a frame from the gateway."""
        self._record.bytes["down"] += size_bytes

    def sent(self, size_bytes: int) -> None:
        """Count a frame to the gateway."""
        self._record.bytes["up"] += size_bytes

    def dialled(self, *, reached: bool) -> None:
        """Count an attempt to connect."""
        self._record.counts["connections" if reached else "unreachable"] += 1

    def vanished(self) -> None:
        """Count a device that went in the midst of work."""
        self._record.counts["vanished"] += 1
        self.holds(None)

    def said(self, message: wire.Message) -> None:
        """Count check-ins."""
        if isinstance(message, wire.CheckIn):
            self._record.counts["check_ins"] += 1
            self._checked_in_at = time.monotonic()

    def heard(self, message: wire.Message) -> None:
        """Count answers; take the times that end with one."""
        match message:
            case wire.Idle():
                self._record.counts["idle"] += 1
            case wire.Offer():
                self._record.counts["offers"] += 1
            case wire.Accepted():
                now = time.monotonic()
                self._record.took("upload", now - self._trained_at)
                self._record.took("assignment", now - self._taken_at)

    def noted(self, note: Note) -> None:
        """Count what the session notes."""
        if note.event == "assignment.taken":
            self._taken_at = time.monotonic()
            self._record.took("bind", self._taken_at - self._checked_in_at)
        self._record.noted(note)

    def downloaded(self) -> None:
        """Everything is here: training begins."""
        self._begun_at = time.monotonic()
        self._record.took("download", self._begun_at - self._taken_at)

    def trained(self) -> None:
        """Training ended."""
        self._trained_at = time.monotonic()
        self._record.took("compute", self._trained_at - self._begun_at)

    def holds(self, assignment: str | None) -> None:
        """Count the device among those at work, or no longer."""
        if (assignment is None) != (self._holds is None):
            self._record.moved(working=-1 if assignment is None else 1)
        self._holds = assignment


def percentiles(values: array[float]) -> dict[str, float]:
    """Return count, mean and percentiles; only the count of nothing."""
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    found = {"count": len(ordered), "mean": round(sum(ordered) / len(ordered), 4)}
    for share in SHARES:
        at = min(len(ordered) - 1, len(ordered) * share // 100)
        found[f"p{share}"] = round(ordered[at], 4)
    return found
