"""Rounds as a table: when each selected, executed and aggregated, who came late or failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, F

from clients.selectors import pseudonym
from frontend import endings, words
from frontend.asked import Asked
from frontend.endings import Ending
from frontend.selectors.measures import measure
from jobs.models import Assignment, Job, Round

SHOWN, PAGE, PAGE_LAST = 12, 50, 100_000
NAMED = 3
"""Of devices that ended alike, so many are named."""
UNREPORTED = ("declined", "failed", "expired", "cancelled")
STEP_S = 5
"""The phase that lasts is drawn in steps, so that the page is not another one at each look."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a round's time, in hundredths of the longest round shown."""

    kind: str
    start: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class RoundLine:
    """A round in the table of rounds."""

    id: UUID
    kind: str
    number: int
    attempt: int
    status: str
    outcome: str
    reason: str
    demand: int
    reported: int
    extensions: int
    late: int
    failed: int
    endings: list[str]
    loss: float | None
    accuracy: float | None
    took: str
    pieces: list[Piece]
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class RoundPage:
    """A page of the table; addresses of the newest and of the one before, empty if this is it."""

    lines: list[RoundLine]
    newest: str
    earlier: str
    earlier_count: int


def page(job: Job, asked: Asked, *, now: datetime, is_open: bool) -> RoundPage:
    """Return a page of a job's rounds, newest first; the first one is short.

    ``is_open``: all devices are of the tenant's own pools, so that small counts are told.
    """
    number = min(asked.rounds, PAGE_LAST)
    first = 0 if number == 1 else SHOWN + (number - 2) * PAGE
    end = first + (SHOWN if number == 1 else PAGE)
    found = list(job.rounds.order_by("-id")[first : end + 1])
    rows = found[: end - first]
    has_more = len(found) > len(rows)
    return RoundPage(
        lines=_lines(rows, now=now, is_open=is_open),
        newest=asked.link(rounds=1) if number > 1 else "",
        earlier=asked.link(rounds=number + 1) if has_more else "",
        earlier_count=job.rounds.count() - end if has_more else 0,
    )


def _lines(rows: list[Round], *, now: datetime, is_open: bool) -> list[RoundLine]:
    """Return a line for each round, by one query for all."""
    ended = _endings(rows)
    longest = max((_seconds(row.opened_at, _until(row, now)) for row in rows), default=0.0) or 1.0
    return [_line(row, ended.get(row.id, []), longest, now, is_open=is_open) for row in rows]


def _endings(rows: list[Round]) -> dict[UUID, list[Ending]]:
    """Return, by round, how assignments ended without a report, the most frequent first."""
    found = {
        row.id: [Ending(*one) for one in row.endings if one[0] in UNREPORTED]
        for row in rows
        if row.endings is not None
    }
    lost = Assignment.objects.filter(
        round__in=[row.id for row in rows if row.id not in found], status__in=UNREPORTED
    )
    groups = (
        lost.order_by()
        .values("round_id", "tenant_id", "status", "code")
        .annotate(count=Count("id"), devices=ArrayAgg("device_id", order_by="id"))
        .values_list("round_id", "tenant_id", "status", "code", "count", F(f"devices__0_{NAMED}"))
        .order_by("-count", "status", "code")
    )
    for round_id, tenant_id, status, code, count, devices in groups:
        names = tuple(pseudonym(tenant_id, one) for one in devices)
        found.setdefault(round_id, []).append(Ending(status, code, count, names))
    return found


def _line(
    row: Round, ended: list[Ending], longest: float, now: datetime, *, is_open: bool
) -> RoundLine:
    took = _seconds(row.opened_at, row.finished_at)
    return RoundLine(
        id=row.id,
        kind=row.kind,
        number=row.number,
        attempt=row.attempt,
        status=row.status,
        outcome=row.outcome,
        reason=str(row.reason.get("message") or ""),
        demand=row.demand,
        reported=row.reported,
        extensions=row.extensions,
        late=endings.total(ended, endings.LATE),
        failed=endings.total(ended, endings.FAILED),
        endings=[endings.text(one, is_open=is_open) for one in ended],
        loss=measure(row.metrics, "loss"),
        accuracy=measure(row.metrics, "accuracy"),
        took=words.duration(took) if row.finished_at else "",
        pieces=_pieces(row, longest, now),
        opened_at=row.opened_at,
    )


def _pieces(row: Round, longest: float, now: datetime) -> list[Piece]:
    """Return when a round selected, executed and aggregated; its present phase ends now."""
    end = _until(row, now)
    phases = (
        # One that never had its devices has only selected.
        ("selecting", row.opened_at, row.executing_at or row.closed_at or end),
        ("executing", row.executing_at, row.closed_at or end),
        ("aggregating", row.closed_at, end),
    )
    pieces, start = [], 0.0
    for kind, since, until in phases:
        lasts = kind == row.status
        if since is None or (until <= since and not lasts):
            continue
        seconds = _seconds(since, until)
        width = 100 * seconds / longest
        text = f"{kind} {'for ' if lasts else ''}{words.duration(seconds)}"
        pieces.append(Piece(kind, round(start, 2), round(width, 2), text))
        start += width
    return pieces


def _until(row: Round, now: datetime) -> datetime:
    """Return when a round ended; of one that goes on, now, in whole steps since it opened."""
    if row.finished_at:
        return row.finished_at
    steps = max(0.0, (now - row.opened_at).total_seconds()) // STEP_S
    return row.opened_at + steps * timedelta(seconds=STEP_S)


def _seconds(since: datetime, until: datetime | None) -> float:
    return max(0.0, (until - since).total_seconds()) if until else 0.0
