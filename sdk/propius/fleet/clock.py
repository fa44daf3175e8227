"""The simulated clock: as real time, ``speed_up`` times as fast."""

from __future__ import annotations

import asyncio
import math
import time


class Clock:
    """What the devices live by. The protocol's own times, the server's, are never sped up."""

    def __init__(self, speed_up: float = 1.0, *, start_s: float = 0.0) -> None:
        self.speed_up = speed_up
        self._start_s = start_s
        self._began = time.monotonic()

    def now(self) -> float:
        """Return simulated seconds since midnight of the first day."""
        return self._start_s + (time.monotonic() - self._began) * self.speed_up

    def real(self, simulated_s: float) -> float:
        """Return how long this many simulated seconds take."""
        return simulated_s / self.speed_up

    async def sleep(self, simulated_s: float) -> None:
        """Wait; forever if asked so."""
        if math.isinf(simulated_s):
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(max(0.0, self.real(simulated_s)))
