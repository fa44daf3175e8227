"""Looks after the machine and the owner's switches while the agent runs."""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import psutil

from propius.agent import conditions, control
from propius.agent.conditions import Reason
from propius.agent.device import Device
from propius.agent.events import ConditionsChanged, Refusal
from propius.agent.history import midnight
from propius.agent.meter import Meter
from propius.agent.recording import Recorder

log = logging.getLogger(__name__)
EVERY_S = 0.5
SLEPT_S = 10.0
"""After so long a sleep of the machine its connection is dead."""
ROUTE_EVERY = 10
SAVE_EVERY = 6
PREPARE_EVERY_S = 30.0
UNWILLING = Refusal("condition", "the owner's conditions do not hold now")


class Watched(Protocol):
    """The agent, as the watch knows it."""

    def conditions_changed(self, event: ConditionsChanged) -> None:
        """Take the news."""

    def left(self) -> None:
        """End: the owner has let the device leave."""

    def reconnect(self, reason: str) -> None:
        """Connect anew at once."""

    def line_ends(self) -> tuple[Any, Any] | None:
        """Return the socket's own and its peer's address, None without a connection."""


class Watch:
    """Looks twice a second, and tells the agent what has changed.

    Parameters
    ----------
    device
        Whose folder, conditions, history and data sets these are.
    meter
        Where readings come from; ``None`` looks for the owner's switches only.
    slept
        Seconds that the machine has slept so far.
    """

    def __init__(
        self,
        device: Device,
        *,
        meter: Meter | None,
        recorder: Recorder,
        slept: Callable[[], float] | None = None,
    ) -> None:
        self._home = device.home
        self._asked = device.conditions
        self._history = device.history
        self._datasets = device.datasets
        self._meter = meter
        self._recorder = recorder
        self._slept = slept or _slept
        self._told: tuple[str, ...] = ()
        self.looked = asyncio.Event()
        """Set once the agent knows how things stand, or nobody will tell it."""

    async def run(self, agent: Watched) -> None:
        """Look until cancelled."""
        preparing = asyncio.create_task(self._prepare())
        try:
            await self._until_left(agent)
            agent.left()
        finally:
            self.looked.set()
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)

    async def _prepare(self) -> None:
        """Keep the data sets ready, beside the looks: a large one takes its time."""
        while True:
            try:
                await self._datasets.refresh()
            except OSError as error:
                log.warning("datasets.unprepared %s", error)
            await asyncio.sleep(PREPARE_EVERY_S)

    async def _until_left(self, agent: Watched) -> None:
        looks, last = 0, self._slept()
        while not control.has_left(self._home):
            await self._look(agent)
            self.looked.set()
            if looks % ROUTE_EVERY == 0:
                self._check_route(agent)
            if looks % SAVE_EVERY == 0:
                self._recorder.save()
            await asyncio.sleep(EVERY_S)
            looks, now = looks + 1, self._slept()
            if now - last > SLEPT_S:
                agent.reconnect(f"this machine slept for {now - last:.0f} s")
            last = now

    def reasons(self) -> tuple[Reason, ...]:
        """Return what keeps the device from work now; may block for a moment."""
        if control.is_paused(self._home):
            return (Reason("paused", "its owner has paused it"),)
        if self._meter is None:
            return ()
        seconds, size = self._used()
        now = replace(self._meter.read(), used_s=seconds, used_bytes=size)
        return conditions.unmet(self._asked, now)

    async def _look(self, agent: Watched) -> None:
        try:
            blocking = self._meter is not None
            found = await asyncio.to_thread(self.reasons) if blocking else self.reasons()
        except (OSError, psutil.Error) as error:
            log.warning("conditions.unreadable %s", error)
            return
        names = tuple(one.name for one in found)
        if names == self._told:
            return
        words = "; ".join(one.words for one in found) or "they hold"
        if bool(names) == bool(self._told):
            log.info("conditions.unmet %s", words)
        else:
            refusal = UNWILLING if found else None
            agent.conditions_changed(ConditionsChanged(refusal, words, self._asked.grace_s))
        self._told = names

    def _used(self) -> tuple[float, int]:
        if self._asked.seconds_a_day is None and self._asked.bytes_a_day is None:
            return 0.0, 0
        try:
            return self._history.used_since(midnight(time.time()))
        except (sqlite3.Error, OSError) as error:
            log.warning("history.unreadable %s", error)
            return 0.0, 0

    def _check_route(self, agent: Watched) -> None:
        """Notice that the machine has another address than the connection: that one is dead."""
        ends = agent.line_ends()
        if ends is None:
            return
        own, peer = ends[0][0], ends[1]
        now = route_to(peer)
        if now is not None and now != own:
            agent.reconnect(f"this machine's address is {now} now, no longer {own}")


def route_to(peer: Any) -> str | None:
    """Return the local address from which ``peer`` would be reached; sends nothing."""
    family = socket.AF_INET6 if len(peer) == 4 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(peer)
            return str(probe.getsockname()[0])
    except OSError:
        # No network at all: the old address may come back.
        return None


def _slept() -> float:
    """The difference of two clocks, so that a busy process is not taken for a sleeping machine."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        # The monotonic clock stands still while Linux sleeps.
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return time.time() - time.monotonic()
