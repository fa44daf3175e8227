"""What is to happen later of one connection: each by a name, and each called off by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Timers:
    """Calls that are due; a name has one at a time."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[str, asyncio.TimerHandle] = {}

    def set(self, name: str, wait_s: float, call: Callable[..., object], *args: Any) -> None:
        """Call ``call`` in ``wait_s`` seconds, in place of what had this name."""
        self.stop(name)
        self._due[name] = asyncio.get_running_loop().call_later(wait_s, call, *args)

    def stop(self, name: str) -> None:
        """Call off what has this name, if there is any."""
        timer = self._due.pop(name, None)
        if timer is not None:
            timer.cancel()

    def stop_all(self) -> None:
        """Call off everything."""
        for name in list(self._due):
            self.stop(name)
