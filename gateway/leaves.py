"""Which leaf a device is told of: a live one of its pool, spread over the devices."""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

import aggregation.leaves
from propius import wire

LOOK = timedelta(seconds=2)


class Leaves:
    """The live leaves, as the last commit of binds saw them.

    One that died since costs its devices a try: they fall back to their session.
    """

    def __init__(self) -> None:
        self._found: list[tuple[UUID, str, frozenset[UUID]]] = []
        self._read_at: datetime | None = None

    def refresh(self, *, now: datetime) -> None:
        """Read the rows, every two seconds at most."""
        if self._read_at is None or not timedelta(0) <= now - self._read_at < LOOK:
            self._read_at = now
            self._found = aggregation.leaves.addresses(now=now)

    def told(self, assignment: wire.Assignment, *, device: str, pool: str) -> wire.Assignment:
        """Return the message with the leaf that the device shall use, if there is one."""
        fit = [url for _, url, pools in self._found if not pools or UUID(pool) in pools]
        if not fit:
            return assignment
        # The same device to the same leaf: what began there goes on there.
        chosen = fit[zlib.crc32(device.encode()) % len(fit)]
        return msgspec.structs.replace(assignment, leaf=f"{chosen}/data/v1")
