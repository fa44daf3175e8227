"""How slowly an update may come."""

from __future__ import annotations

import asyncio
import time

from aggregation.transfer.exchange import Exchange
from core import knobs
from core.errors import PropiusError

SLOWEST = 1024
"""Bytes a second that an update must come at, once ``request_body_s`` is over."""


class Stalled(PropiusError):
    """Nothing came for as long as a device may be silent, or too little for how long it took."""

    code, status, title = "upload_stalled", 408, "The update has stopped coming"


class Pace:
    """One body: what came of it, and how long that was waited for.

    The time that our own disk takes is not the device's.
    """

    def __init__(self) -> None:
        self._came = 0
        self._waited_s = 0.0

    async def piece(self, exchange: Exchange) -> bytes:
        """Return what comes next. Raises Stalled, Gone."""
        knob = knobs.get()
        left_s = knob.request_body_s + self._came / SLOWEST - self._waited_s
        began = time.monotonic()
        try:
            async with asyncio.timeout(min(knob.lease_s, left_s)):
                piece = await exchange.piece()
        except TimeoutError:
            text = f"{self._came} bytes of the update came in time; go on by offset"
            raise Stalled(f"{text}, at {SLOWEST} bytes a second or more") from None
        self._waited_s += time.monotonic() - began
        self._came += len(piece)
        return piece
