"""What devices are told of their software: versions in quarantine, versions that are required."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from django.utils import timezone

import clients.selectors
from clients import software
from gateway.events import Noticed
from gateway.threads import DatabaseAway
from jobs import quarantine

if TYPE_CHECKING:
    from gateway.hub import Hub

EVERY_S = 20.0
RETRY_S = 1.0
SLICE = 500


class Software:
    """Reads the rules at once when told, else a few times a minute, and judges the devices."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._soon = asyncio.Event()
        self._read = asyncio.Event()
        self._barred: dict[str, str] = {}
        self._requirements: list[software.Requirement] = []

    def look_soon(self) -> None:
        """Look now: the rules have changed, or may have."""
        self._soon.set()

    async def known(self) -> None:
        """Wait until the rules have been read once."""
        await self._read.wait()

    def judge(self, one: Any) -> software.Notice | None:
        """Return what to tell a device that has proved who it is."""
        return software.judged(
            one.device,
            one.pool_id,
            one.sdk,
            barred=self._barred,
            requirements=self._requirements,
            now=timezone.now(),
        )

    async def run(self) -> None:
        """Look for as long as the process lives."""
        while True:
            self._soon.clear()
            wait_s = EVERY_S if await self._look() else RETRY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._soon.wait()

    async def _look(self) -> bool:
        try:
            self._barred, self._requirements = await self._hub.threads.rows(_rules)
        except DatabaseAway:
            return False
        self._read.set()
        for number, one in enumerate(self._hub.connections()):
            self._settle(one)
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)  # thousands of sockets: the others must breathe
        return True

    def _settle(self, one: Any) -> None:
        before, one.notice = one.notice, self.judge(one)
        # How long is left is told once, and not each time anew.
        if _grade(before) != _grade(one.notice):
            one.sign()
            one.feed(Noticed(one.notice))


def _grade(notice: software.Notice | None) -> tuple[object, ...]:
    return () if notice is None else (notice.code, notice.bars, notice.errors)


def _rules() -> tuple[dict[str, str], list[software.Requirement]]:
    return quarantine.barred_software(), clients.selectors.requirements()
