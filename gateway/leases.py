"""Renewals of leases, gathered and flushed in one statement about once a second."""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

from django.utils import timezone

import jobs.services
from gateway.registry import Registry
from gateway.threads import DatabaseAway, Threads

logger = logging.getLogger(__name__)

FLUSH_S = 1.0


class Leases:
    """The newest progress of each assignment that is at work here."""

    def __init__(self, threads: Threads, registry: Registry) -> None:
        self._threads = threads
        self._registry = registry
        self._waiting: dict[str, tuple[str, float]] = {}

    def renew(self, assignment: str, phase: str, fraction: float) -> None:
        """Note progress for the next flush."""
        self._waiting[assignment] = (phase, fraction)

    def forget(self, assignment: str) -> None:
        """Drop what waits: the assignment is over."""
        self._waiting.pop(assignment, None)

    async def run(self) -> None:
        """Flush for as long as the process lives."""
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except DatabaseAway:
                continue  # what was noted since is in the next flush

    async def flush(self) -> None:
        """Renew now; cancel here what is no longer bound."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        progress = [
            jobs.services.Progress(UUID(identifier), phase, fraction)
            for identifier, (phase, fraction) in waiting.items()
        ]
        over = await self._threads.rows(
            lambda: jobs.services.renew(progress=progress, now=timezone.now())
        )
        for identifier, why in over.items():
            self._registry.cancel([str(identifier)], why.code, why.message)
