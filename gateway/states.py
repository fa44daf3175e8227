"""The states of a device's session, and every allowed move."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """How far a session has come."""

    OPENED = "opened"
    VERIFYING = "verifying"
    FREE = "free"
    BINDING = "binding"
    IDLE = "idle"
    CHOOSING = "choosing"
    HELD = "held"
    WORKING = "working"
    UPLOADING = "uploading"
    REPORTING = "reporting"
    CLOSED = "closed"


_S = State
TRANSITIONS: dict[State, frozenset[State]] = {
    _S.OPENED: frozenset({_S.VERIFYING, _S.CLOSED}),
    _S.VERIFYING: frozenset({_S.FREE, _S.WORKING, _S.CLOSED}),
    _S.FREE: frozenset({_S.BINDING, _S.CLOSED}),
    # Back to free: the attributes of the check-in were refused.
    _S.BINDING: frozenset({_S.HELD, _S.CHOOSING, _S.IDLE, _S.FREE, _S.CLOSED}),
    _S.IDLE: frozenset({_S.BINDING, _S.CLOSED}),
    _S.CHOOSING: frozenset({_S.BINDING, _S.IDLE, _S.CLOSED}),
    _S.HELD: frozenset({_S.WORKING, _S.FREE, _S.CLOSED}),
    _S.WORKING: frozenset({_S.UPLOADING, _S.REPORTING, _S.FREE, _S.CLOSED}),
    _S.UPLOADING: frozenset({_S.REPORTING, _S.FREE, _S.CLOSED}),
    _S.REPORTING: frozenset({_S.FREE, _S.CLOSED}),
    _S.CLOSED: frozenset(),
}

SIGNED_IN = frozenset(State) - {State.OPENED, State.VERIFYING, State.CLOSED}
HOLDING = frozenset({State.HELD, State.WORKING, State.UPLOADING, State.REPORTING})
