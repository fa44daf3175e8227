"""What tenants have used of the fleet, by job and day: kept when the rows it is counted from go.

An assignment counts on the day (UTC) on which its round closed, so that a day is final once it is
over. What open rounds hold is added at the read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Max, Min

from aggregation.models import UsageDay
from jobs.models import Job, Round

_SUMS = """
    SELECT r.tenant_id, r.job_id, count(DISTINCT r.id) FILTER (WHERE r.outcome <> 'failed'),
        count(*), count(*) FILTER (WHERE a.status = 'reported'),
        sum(greatest(0, extract(epoch FROM coalesce(a.ended_at, %(now)s) - a.bound_at))),
        sum(coalesce(a.base_size, r.base_size)) FILTER (WHERE a.accepted_at IS NOT NULL),
        sum(u.size_bytes)
    FROM jobs_round r JOIN jobs_assignment a ON a.round_id = r.id
    LEFT JOIN aggregation_update u ON u.assignment_id = a.id
    WHERE r.closed_at >= %(since)s AND r.closed_at < %(until)s OR %(open)s AND r.closed_at IS NULL
    GROUP BY r.tenant_id, r.job_id
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A job's use on one day: seconds of devices, and bytes handed to and taken from them."""

    day: date
    job_id: UUID
    job: str
    member: str
    rounds: int
    assignments: int
    reported: int
    device_seconds: float
    down_bytes: int
    up_bytes: int


def roll_up(*, now: datetime, since: date | None = None) -> int:
    """Count each day from ``since`` on anew, as the system role; returns how many lines it wrote.

    Without ``since``, from yesterday or the last day that was counted: whichever is earlier.
    """
    today = now.astimezone(UTC).date()
    day = since or first_open_day(now=now)
    written = 0
    while day <= today:
        rows = [UsageDay(day=day, **values) for values in _counted(day, now=now, with_open=False)]
        UsageDay.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["job", "day"],
            update_fields=_COUNTED,
        )
        written += len(rows)
        day += timedelta(days=1)
    return written


def first_open_day(*, now: datetime) -> date:
    """Return the first day that may lack something: rounds were counted never, or not lately."""
    today = now.astimezone(UTC).date()
    counted: date | None = UsageDay.objects.aggregate(day=Max("day"))["day"]
    if counted is None:
        closed = Round.objects.aggregate(at=Min("closed_at"))["at"]
        counted = closed.astimezone(UTC).date() if closed else today
    return min(counted, today - timedelta(days=1))


def lines(*, days: int, now: datetime) -> list[Line]:
    """Return the tenant's use of the last ``days`` days with today's as of now, newest first."""
    today = now.astimezone(UTC).date()
    past = UsageDay.objects.filter(day__gt=today - timedelta(days=days), day__lt=today)
    found = [(one.day, one.job_id, {name: getattr(one, name) for name in _COUNTED}) for one in past]
    for values in _counted(today, now=now, with_open=True):
        counted = {name: values[name] for name in _COUNTED}
        found.append((today, values["job_id"], counted))
    jobs = Job.objects.in_bulk({job_id for _, job_id, _ in found})
    made = [
        Line(day, job_id, jobs[job_id].name, jobs[job_id].submitted_by, **counted)
        for day, job_id, counted in found
        if job_id in jobs
    ]
    return sorted(made, key=lambda one: (one.day, one.device_seconds), reverse=True)


_COUNTED = ["rounds", "assignments", "reported", "device_seconds", "down_bytes", "up_bytes"]


def _counted(day: date, *, now: datetime, with_open: bool) -> list[dict[str, Any]]:
    since = datetime.combine(day, time(), UTC)
    with connection.cursor() as cursor:
        cursor.execute(
            _SUMS,
            {"since": since, "until": since + timedelta(days=1), "now": now, "open": with_open},
        )
        return [
            {
                "tenant_id": tenant_id, "job_id": job_id, "rounds": rounds,
                "assignments": assignments, "reported": reported,
                "device_seconds": float(seconds or 0), "down_bytes": int(down or 0),
                "up_bytes": int(up or 0),
            }
            for tenant_id, job_id, rounds, assignments, reported, seconds, down, up
            in cursor.fetchall()
        ]  # fmt: skip
