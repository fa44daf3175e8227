"""Writes the history while the agent works: what is taken, used, and how it ends."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable

from propius import wire
from propius.agent.energy import EnergyMeter, SystemEnergy
from propius.agent.events import (
    CancelTraining,
    Event,
    Instruction,
    Note,
    PauseWork,
    ResumeWork,
    Train,
    TrainingFinished,
)
from propius.agent.history import History, Usage

log = logging.getLogger(__name__)
ENDS = {
    "assignment.accepted": "accepted",
    "assignment.failed": "failed",
    "assignment.cancelled": "cancelled",
    "assignment.late": "too late",
    "assignment.given_up": "given up",
    "assignment.lost": "lost",
    "session.refused": "refused",
}
"""Notes of the session that end an assignment, and the words for it."""


class Recorder:
    """One assignment at a time, as the session has it.

    A history that cannot be written is logged and does not stop the work: only the budgets of
    the day would be wrong, by what is missing.
    """

    def __init__(
        self,
        history: History,
        *,
        energy: EnergyMeter | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history = history
        self._energy = energy or SystemEnergy()
        self._wall = wall
        self._clock = clock
        self._current: str | None = None
        self._used = Usage()
        self._trains = self._is_held = False
        self._working_since: float | None = None
        self._energy_then: float | None = None

    def begin(self, waiting: str | None) -> None:
        """Start with the record of an earlier process, of which only ``waiting`` still goes on."""
        self._current = waiting
        self._try(lambda: self._history.interrupted(but=waiting))

    def saw(self, event: Event) -> None:
        """Follow what happens to the session."""
        if isinstance(event, TrainingFinished):
            self._trains = False
            self._count()

    def did(self, instruction: Instruction, held: wire.Assignment | None) -> None:
        """Follow what the session orders; ``held`` is the assignment in hand."""
        match instruction:
            case Note():
                self._note(instruction, held)
            case Train():
                self._trains = True
            case CancelTraining():
                self._trains = False
            case PauseWork():
                self._is_held = True
            case ResumeWork():
                self._is_held = False
        self._count()

    def _note(self, note: Note, held: wire.Assignment | None) -> None:
        if note.event == "assignment.taken" and held is not None:
            self._current = held.id
            self._try(lambda: self._history.begin(held, now=self._wall()))
        elif note.event == "assignment.resumed" and held is not None:
            self._current = held.id
        elif note.event in ENDS:
            assignment = str(note.fields.get("assignment") or "")
            if assignment:
                code = str(note.fields.get("code") or "")
                self._end(assignment, f"{ENDS[note.event]}{f' ({code})' if code else ''}")

    def received(self, size_bytes: int) -> None:
        """Count bytes from the gateway."""
        self._used.bytes_in += size_bytes

    def sent(self, size_bytes: int) -> None:
        """Count bytes to the gateway."""
        self._used.bytes_out += size_bytes

    def _count(self) -> None:
        """Begin or end to count time: training that is held still is no work, and costs nobody."""
        works = self._trains and not self._is_held
        if works == (self._working_since is not None):
            return
        self._tick()
        self._working_since = self._clock() if works else None
        self._energy_then = self._energy.total_j() if works else None

    def save(self) -> None:
        """Write down what was used since the last call; call it often, a crash loses the rest."""
        self._tick()
        if self._current is None:
            # Greetings and pings are nobody's.
            self._used = Usage()
        elif self._used:
            used, self._used = self._used, Usage()
            current = self._current
            self._try(lambda: self._history.add(current, used, now=self._wall()))

    def _tick(self) -> None:
        if self._working_since is None:
            return
        now, energy = self._clock(), self._energy.total_j()
        self._used.seconds += now - self._working_since
        self._working_since = now
        if energy is not None and self._energy_then is not None:
            self._used.energy_j = (self._used.energy_j or 0.0) + max(
                0.0, energy - self._energy_then
            )
        self._energy_then = energy

    def _end(self, assignment: str, outcome: str) -> None:
        if assignment == self._current:
            self._trains = False
            self._count()
            self.save()
            self._current = None
        self._try(lambda: self._history.end(assignment, outcome, now=self._wall()))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (sqlite3.Error, OSError) as error:
            log.warning("history.unwritable %s", error)
