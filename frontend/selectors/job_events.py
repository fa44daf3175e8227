"""What has happened to a job, newest first, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from uuid import UUID

from core import events
from core.models import Event
from frontend import event_words
from frontend.asked import Asked
from jobs.models import Job, Round

LINES, ROWS = 25, 400
"""A page has so many lines at most, made of so many events: what many devices did is one line."""


@dataclass(frozen=True, slots=True)
class EventLine:
    """Something that happened, at once or to many devices until ``at``."""

    id: int
    tone: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the log that may be asked for."""

    key: str
    text: str
    address: str
    is_shown: bool


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of the log; addresses of the newest and of the one before, empty if this is it."""

    lines: list[EventLine]
    newest: str
    older: str
    parts: list[Part]


def page(job: Job, asked: Asked, *, is_open: bool) -> EventPage:
    """Return a page of a job's events, by two queries."""
    kinds = event_words.LOGS[asked.log][1]
    rows = events.newest_of_job(job_id=job.id, before=asked.before, limit=ROWS, kinds=kinds)
    groups = [list(group) for _, group in islice(groupby(rows, _alike), LINES)]
    told = [row for group in groups for row in group]
    names = _names({row.round_id for row in told if row.round_id})
    is_last = len(told) == len(rows) < ROWS
    return EventPage(
        lines=list(_lines(groups, names, is_open=is_open)),
        newest=asked.link(before=None) if asked.before is not None else "",
        older="" if is_last or not told else asked.link(before=told[-1].id),
        parts=[
            Part(key or "all", text, asked.link(log=key, before=None), key == asked.log)
            for key, (text, _) in event_words.LOGS.items()
        ],
    )


def _alike(row: Event) -> tuple[object, ...]:
    """What devices of a round did alike is one line; anything else is one of its own."""
    if row.kind.startswith("assignment."):
        return row.kind, row.round_id, row.data.get("code")
    return (row.id,)


def _lines(
    groups: Iterable[list[Event]], names: Mapping[UUID, str], *, is_open: bool
) -> Iterator[EventLine]:
    for group in groups:
        newest = group[0]
        which = names.get(newest.round_id, "A round") if newest.round_id else "The job"
        tone, text = event_words.sentence(
            newest.kind, newest.data, which=which, count=len(group), is_open=is_open
        )
        yield EventLine(newest.id, tone, text, newest.at)


def _names(round_ids: set[UUID]) -> dict[UUID, str]:
    rows = Round.objects.filter(id__in=round_ids)
    found = rows.values_list("id", "kind", "number", "attempt", "concurrency")
    return {
        round_id: event_words.round_name(
            kind=kind, number=number, attempt=attempt, is_buffer=concurrency is not None
        )
        for round_id, kind, number, attempt, concurrency in found
    }
