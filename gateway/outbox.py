"""Where one event's instructions gather, and what the parts of a session share."""

from __future__ import annotations

from gateway.instructions import Close, Instruction, Send
from gateway.states import TRANSITIONS, State
from propius import wire

REFUSED_CLOSE = 1008
PROTOCOL_CLOSE = 1002
PROTOCOL_FAULTS = frozenset({"bad_frame", "bad_message", "too_long", "out_of_order"})


class Outbox:
    """The session's state, and the instructions of the event at hand."""

    __slots__ = ("instructions", "state")

    def __init__(self) -> None:
        self.state = State.OPENED
        self.instructions: list[Instruction] = []

    def move(self, state: State) -> None:
        """Go to ``state``; a move outside the table is a fault of ours."""
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.state} to {state} is no transition")
        self.state = state

    def do(self, instruction: Instruction) -> None:
        """Add an instruction."""
        self.instructions.append(instruction)

    def send(self, message: wire.Message) -> None:
        """Add a message to send."""
        self.instructions.append(Send(message))

    def refuse(
        self,
        code: str,
        message: str,
        assignment: str | None = None,
        errors: dict[str, str] | None = None,
    ) -> None:
        """Refuse what was asked; the session goes on. ``assignment`` is over."""
        self.send(
            wire.Refused(code=code, message=message, assignment=assignment, errors=errors or {})
        )

    def close(self, code: int) -> None:
        """End the session."""
        self.move(State.CLOSED)
        self.do(Close(code))

    def fatal(self, code: str, message: str, errors: dict[str, str] | None = None) -> None:
        """Refuse, and end the session. What the device holds stays its own until the lease ends."""
        self.send(wire.Refused(code=code, message=message, errors=errors or {}, fatal=True))
        self.close(PROTOCOL_CLOSE if code in PROTOCOL_FAULTS else REFUSED_CLOSE)
