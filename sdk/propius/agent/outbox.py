"""Where one event's instructions gather."""

from __future__ import annotations

from propius import wire
from propius.agent.events import Instruction, Note, Send


class Outbox:
    """Instructions of the event at hand, the event's time, and the count of transfers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.spoke_at = 0.0
        self.instructions: list[Instruction] = []
        self._transfer = 0

    def open(self, now: float) -> None:
        """Start with a new event."""
        self.now = now
        self.instructions = []

    def do(self, instruction: Instruction) -> None:
        """Add an instruction."""
        self.instructions.append(instruction)

    def send(self, message: wire.Message) -> None:
        """Add a message to send."""
        self.spoke_at = self.now
        self.do(Send(message))

    def note(self, event: str, **fields: object) -> None:
        """Add a line for the log."""
        self.do(Note(event, fields))

    def next_transfer(self) -> int:
        """Return a transfer number that no earlier transfer of this session had."""
        self._transfer = (self._transfer + 1) % (1 << 32)
        return self._transfer
