"""Devices' words that move rows, gathered and committed with the next binds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import jobs.services
from core.errors import PropiusError
from gateway.events import Cancelled
from gateway.instructions import GiveBack
from gateway.leases import Leases
from gateway.registry import Listener

logger = logging.getLogger(__name__)

WAIT_S = 0.02
"""For binds to go with; a commit of their own costs as much as hundreds of rows."""

PATIENCE_S = 30.0
"""As long as a return is worth a try: an assignment that lasts longer without one has lapsed."""


@dataclass(slots=True)
class Batch:
    """Accepts and returns of one commit; ``done`` ends when their rows have moved."""

    done: asyncio.Future[None]
    accepts: dict[str, Listener] = field(default_factory=dict)
    returns: dict[str, jobs.services.Return] = field(default_factory=dict)
    at: float = field(default_factory=time.monotonic)

    def __bool__(self) -> bool:
        return bool(self.accepts or self.returns)


class Moves:
    """What waits for the binder's next commit. ``wake`` tells it that some has waited enough."""

    def __init__(self, leases: Leases, wake: Callable[[], None]) -> None:
        self._leases = leases
        self._wake = wake
        self._next: Batch | None = None

    def __bool__(self) -> bool:
        return self._next is not None

    def accept(self, one: Listener, assignment: str) -> asyncio.Future[None]:
        """Note a device's first word."""
        batch = self._open()
        batch.accepts[assignment] = one
        return batch.done

    def give_back(self, one: Listener, do: GiveBack) -> asyncio.Future[None]:
        """Note what a device gives back."""
        batch = self._open()
        batch.returns[do.assignment] = jobs.services.Return(
            UUID(do.assignment), UUID(one.device), do.status, do.code, do.message
        )
        return batch.done

    def take(self) -> Batch | None:
        """Hand over what waits; the caller ends it by :meth:`end` or :meth:`keep`."""
        batch, self._next = self._next, None
        return batch

    def end(self, batch: Batch, faults: dict[UUID, PropiusError]) -> None:
        """Its rows have moved; ``faults`` by assignment are accepts that came too late."""
        for identifier, error in faults.items():
            # The result may be faster than the word that it is worked on.
            if not isinstance(error, jobs.services.AlreadyReported):
                assignment = str(identifier)
                batch.accepts[assignment].feed(Cancelled(assignment, error.code, error.detail))
        _finish(batch)

    def keep(self, batch: Batch) -> None:
        """The database is away: try the returns again, for a while."""
        for assignment in batch.accepts:
            self._leases.renew(assignment, "", 0.0)  # the next flush says the same
        if batch.returns and time.monotonic() - batch.at < PATIENCE_S:
            newer = self._open()
            newer.at = batch.at
            newer.returns = batch.returns | newer.returns
        elif batch.returns:
            logger.warning("gateway.give_back_lost", extra={"count": len(batch.returns)})
        _finish(batch)

    def _open(self) -> Batch:
        if self._next is None:
            loop = asyncio.get_running_loop()
            self._next = Batch(loop.create_future())
            loop.call_later(WAIT_S, self._wake)
        return self._next


def _finish(batch: Batch) -> None:
    if not batch.done.done():
        batch.done.set_result(None)
