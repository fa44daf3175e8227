"""Past rounds as a table: when each selected, executed and aggregated, who came late or failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Q

from frontend import words
from frontend.selectors.measures import measure
from jobs.models import Assignment, Round


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

    kind: str
    number: int
    attempt: int
    status: str
    outcome: str
    reason: str
    demand: int
    reported: int
    late: int
    failed: int
    loss: float | None
    accuracy: float | None
    took: str
    pieces: list[Piece]
    opened_at: datetime


def round_lines(rows: list[Round]) -> list[RoundLine]:
    """Return a line for each round, by one query for all."""
    ends = Count("id", filter=Q(status__in=["expired", "cancelled"]))
    failed = Count("id", filter=Q(status__in=["failed", "declined"]))
    counts: dict[UUID, tuple[int, int]] = {
        round_id: (late, failed)
        for round_id, late, failed in Assignment.objects.filter(round__in=[row.id for row in rows])
        .values("round_id")
        .annotate(late=ends, failed=failed)
        .values_list("round_id", "late", "failed")
    }
    longest = max((_seconds(row.opened_at, row.finished_at) for row in rows), default=0.0) or 1.0
    return [_round_line(row, *counts.get(row.id, (0, 0)), longest) for row in rows]


def _round_line(row: Round, late: int, failed: int, longest: float) -> RoundLine:
    took = _seconds(row.opened_at, row.finished_at)
    return RoundLine(
        kind=row.kind,
        number=row.number,
        attempt=row.attempt,
        status=row.status,
        outcome=row.outcome,
        reason=str(row.reason.get("message") or ""),
        demand=row.demand,
        reported=row.reported,
        late=late,
        failed=failed,
        loss=measure(row.metrics, "loss"),
        accuracy=measure(row.metrics, "accuracy"),
        took=words.duration(took) if row.finished_at else "",
        pieces=_pieces(row, longest) if row.finished_at else [],
        opened_at=row.opened_at,
    )


def _pieces(row: Round, longest: float) -> list[Piece]:
    """Return when a finished round selected, executed and aggregated."""
    marks = [row.opened_at, row.executing_at, row.closed_at, row.finished_at]
    pieces, start = [], 0.0
    since = row.opened_at
    for kind, until in zip(("selecting", "executing", "aggregating"), marks[1:], strict=True):
        if until is None:
            continue
        seconds = _seconds(since, until)
        width = 100 * seconds / longest
        pieces.append(
            Piece(kind, round(start, 2), round(width, 2), f"{kind} {words.duration(seconds)}")
        )
        start, since = start + width, until
    return pieces


def _seconds(since: datetime, until: datetime | None) -> float:
    return max(0.0, (until - since).total_seconds()) if until else 0.0
