"""Tells the rows who is connected, and hears from them who was shut out meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.utils import timezone

import clients.selectors
import clients.services
from gateway.threads import DatabaseAway

if TYPE_CHECKING:
    from gateway.hub import Hub

EVERY_S = 20.0
SLICE = 1000
PROFILES_EVERY = 15


class Presence:
    """Looks at the rows of all connected devices, in slices, a few times a minute."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._soon = asyncio.Event()

    def look_soon(self) -> None:
        """Look now: something may have been missed."""
        self._soon.set()

    async def run(self) -> None:
        """Look for as long as the process lives."""
        number = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._soon.wait()
            self._soon.clear()
            number += 1
            if number % PROFILES_EVERY == 0:
                self._hub.register_all()
            await self._look()

    async def _look(self) -> None:
        devices = list(self._hub.registry.devices)
        for start in range(0, len(devices), SLICE):
            part = [UUID(one) for one in devices[start : start + SLICE]]
            try:
                revoked = await self._hub.threads.rows(lambda: _seen(part))  # noqa: B023
            except DatabaseAway:
                return
            self._hub.registry.revoke(map(str, revoked))


def _seen(devices: Sequence[UUID]) -> list[UUID]:
    clients.services.seen(device_ids=devices, now=timezone.now())
    return clients.selectors.revoked_among(devices)
