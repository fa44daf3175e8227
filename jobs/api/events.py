"""A job's events as a stream that resumes where it broke off (server-sent events)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from django.utils import timezone

from clients import selectors as client_selectors
from core import events, knobs
from core.errors import TooMany, Unavailable
from core.models import Event
from jobs import selectors
from jobs.models import Job
from tenants import scopes

TYPE = "text/event-stream"
SCHEMA = {
    "type": "object",
    "description": "One event. `data` is JSON: id, kind, at, job, round, assignment, device, data.",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$", "description": "To resume after"},
        "event": {"type": "string", "description": "Its kind, as in job.admitted"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
POLL_S = 0.5
BATCH = 1000
BEAT_S = 15.0
CHECK_S = 2.0
"""A token that was revoked, and a member that was removed, read for no longer than this."""
DECLINED = "assignment.declined"
SHARE = 10
"""A tenant may have one in this many of a process's streams."""


class StreamsInUse(TooMany):
    """The tenant has as many streams open as it may; ``wait`` and try again."""

    code = "streams_in_use"
    wait = 10


class NoStreamFree(Unavailable):
    """This process serves as many streams as it can."""

    code = "no_stream_free"
    wait = 10


@dataclass(slots=True)
class Reader:
    """What was sent of one job's events, and what comes next."""

    tenant_id: UUID
    job_id: UUID
    last: int
    kinds: tuple[str, ...] = ()
    """Those that are asked for; none is all."""
    floor: int = -1
    sent: set[int] = field(default_factory=set)
    is_open: bool | None = None
    has_more: bool = False
    """Whether there may be more already than was read last."""

    def __post_init__(self) -> None:
        if self.floor < 0:
            self.floor = self.last

    def read(self) -> tuple[list[str], bool]:
        """Return the events not sent yet, and whether the job has ended and told all."""
        now = timezone.now()
        with scopes.scope(self.tenant_id):
            job = Job.objects.filter(id=self.job_id).values_list("finished_at", flat=True).first()
            passed = events.passed_of_job(job_id=self.job_id, now=now) if self.kinds else 0
            found = events.of_job(
                job_id=self.job_id, after=self.floor, now=now, limit=BATCH, kinds=self.kinds
            )
            if self.is_open is None and any(one.kind == DECLINED for one in found):
                self.is_open = selectors.owns_its_pools(Job.objects.get(id=self.job_id))
        fresh = [one for one in found if one.id not in self.sent]
        told = [self._told(one) for one in fresh]
        self.sent |= {one.id for one in fresh}
        self.has_more = len(found) == BATCH
        done = events.done_up_to(found, now=now, limit=BATCH) or 0
        # Of the kinds in between nothing is read: or it would be looked through each time again.
        done = done if self.has_more else max(done, passed)
        if done > self.floor:
            self.floor = done
            self.sent = {one for one in self.sent if one > done}
        over = job is not None and job < now - events.SETTLED and not self.has_more
        return told, over

    def _told(self, event: Event) -> str:
        told = as_json(event, self.tenant_id, is_open=bool(self.is_open))
        body = json.dumps(told, separators=(",", ":"))
        # One that comes late does not move the place to resume at back.
        number = f"id: {event.id}\n" if event.id > self.last else ""
        self.last = max(self.last, event.id)
        return f"{number}event: {event.kind}\ndata: {body}\n\n"


def as_json(event: Event, tenant_id: UUID, *, is_open: bool) -> dict[str, Any]:
    """Return what a tenant may know of an event: devices under their pseudonyms.

    Why one declined is its owner's business, unless ``is_open``: it is of the tenant's own pools.
    """
    device = event.device_id and client_selectors.pseudonym(tenant_id, event.device_id)
    return {
        "id": event.id,
        "kind": event.kind,
        "at": event.at.isoformat(),
        "job": str(event.job_id),
        "round": event.round_id and str(event.round_id),
        "assignment": event.assignment_id and str(event.assignment_id),
        "device": device,
        "data": {} if event.kind == DECLINED and not is_open else event.data,
    }


_open: Counter[UUID] = Counter()


def require_free(tenant_id: UUID) -> None:
    """Check that one more stream may be opened. Raises StreamsInUse, NoStreamFree."""
    most = knobs.get().event_streams
    if _open.total() >= most:
        raise NoStreamFree(f"this server has its {most} event streams open; try again soon")
    share = max(1, most // SHARE)
    if _open[tenant_id] >= share:
        raise StreamsInUse(f"your {share} event streams are open; close one or try again")


async def stream(reader: Reader, *, follow: bool, may: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield events as they come. Ends after a while, and soon after the reader no longer ``may``.

    The next request is authenticated anew.
    """
    read = database_sync_to_async(reader.read, thread_sensitive=False)
    check = database_sync_to_async(may, thread_sensitive=False)
    clock = asyncio.get_running_loop().time
    until, beat = clock() + knobs.get().event_stream_s, clock() + BEAT_S
    checked = clock()
    _open[reader.tenant_id] += 1
    try:
        yield b"retry: 2000\n\n"
        while True:
            if clock() >= checked + CHECK_S:
                if not await check():
                    return
                checked = clock()
            told, over = await read()
            if told:
                yield "".join(told).encode()
                beat = clock() + BEAT_S
            if over or clock() >= until or not (follow or reader.has_more):
                return
            if clock() >= beat:
                yield b": still here\n\n"
                beat = clock() + BEAT_S
            if not reader.has_more:
                await asyncio.sleep(POLL_S)
    finally:
        _open[reader.tenant_id] -= 1
        if not _open[reader.tenant_id]:
            del _open[reader.tenant_id]
