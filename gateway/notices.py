"""What a device is to hear of its software: once, and only while it holds nothing.

Some clients give up what they hold when they are refused anything.
"""

from __future__ import annotations

from clients.software import Notice
from gateway.events import Noticed
from gateway.outbox import Outbox
from gateway.states import State


class Notices:
    """Keeps what is to be told until the device may hear it."""

    __slots__ = ("_out", "_untold")

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self._untold: Notice | None = None

    def take(self, event: Noticed) -> None:
        """Tell it, now or later; what was to be told before has passed."""
        self._untold = event.notice
        if self._out.state in (State.FREE, State.IDLE):
            self.tell()

    def tell(self) -> None:
        """Tell what has not been told."""
        notice, self._untold = self._untold, None
        if notice is not None:
            self._out.refuse(notice.code, notice.message, None, dict(notice.errors))
