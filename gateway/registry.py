"""Which devices and assignments have their connection in this process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gateway.events import Cancelled, Event, Replaced, Revoked
from jobs.constraints import Profile


class Listener(Protocol):
    """A device's connection, as the rest of the process sees it."""

    device: str
    session_id: str
    profile: Profile
    signature: str
    tried: int
    pushed: bool

    async def settled(self) -> None:
        """Wait until the moves of its rows have ended."""

    def sign(self) -> None:
        """Take the signature that the current constraint groups give."""

    def feed(self, event: Event) -> None:
        """Let the session know of ``event``."""


class Registry:
    """At most one connection a device; the newest stays."""

    def __init__(self) -> None:
        self.devices: dict[str, Listener] = {}
        self._assignments: dict[str, Listener] = {}

    def enter(self, one: Listener) -> Listener | None:
        """Take a device's new connection; return the one that it replaced, now told so."""
        older = self.devices.get(one.device)
        self.devices[one.device] = one
        if older is not None:
            older.feed(Replaced())
        return older

    def leave(self, one: Listener) -> None:
        """Forget a connection, unless a newer one has its place."""
        if self.devices.get(one.device) is one:
            del self.devices[one.device]

    def hold(self, assignment: str, one: Listener) -> None:
        """Note who works on an assignment."""
        self._assignments[assignment] = one

    def release(self, assignment: str, one: Listener) -> None:
        """Note that the work has ended here."""
        if self._assignments.get(assignment) is one:
            del self._assignments[assignment]

    def replaced(self, device: str, session_id: str) -> None:
        """Close an older session of the device; session ids sort by time."""
        mine = self.devices.get(device)
        if mine is not None and mine.session_id < session_id:
            mine.feed(Replaced())

    def revoke(self, devices: Iterable[str]) -> None:
        """Shut devices out."""
        for device in devices:
            found = self.devices.get(device)
            if found is not None:
                found.feed(Revoked())

    def cancel(self, assignments: Iterable[str], code: str, message: str = "") -> None:
        """End assignments that are over for the platform."""
        for identifier in assignments:
            found = self._assignments.get(identifier)
            if found is not None:
                found.feed(Cancelled(identifier, code, message))
