"""Reads of what tenants and jobs have had of the fleet: jobs, device-seconds, times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import Count

from jobs.models import Job


@dataclass(frozen=True, slots=True)
class JobPast:
    """What a job has had, in seconds: ``workload_s`` a task takes its devices on average, how
    long its last completed train round took to bind devices and from there to its end, and all
    of the time that it held devices.
    """

    workload_s: float = 0.0
    scheduling_s: float = 0.0
    response_s: float = 0.0
    attained_s: float = 0.0


def admitted_jobs(tenant_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Return how many jobs of each tenant are admitted and have not finished."""
    running = (Job.Status.RUNNING, Job.Status.PAUSED)
    rows = Job.objects.filter(tenant_id__in=list(tenant_ids), status__in=running).order_by()
    return dict(rows.values_list("tenant_id").annotate(Count("id")))


def device_seconds(
    tenant_ids: Iterable[UUID], *, since: datetime, now: datetime
) -> dict[UUID, float]:
    """Return the seconds from ``since`` to ``now`` that each tenant held devices, added up."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT tenant_id, sum(extract(epoch FROM
                least(coalesce(ended_at, %(now)s), %(now)s) - greatest(bound_at, %(since)s)))
            FROM jobs_assignment
            WHERE tenant_id = ANY(%(tenants)s::uuid[]) AND bound_at < %(now)s
              AND (ended_at IS NULL OR ended_at > %(since)s)
            GROUP BY tenant_id
            """,
            {"now": now, "since": since, "tenants": list(tenant_ids)},
        )
        return {tenant_id: float(seconds) for tenant_id, seconds in cursor.fetchall()}


def pasts(job_ids: Iterable[UUID], *, now: datetime) -> dict[UUID, JobPast]:
    """Return what jobs have had so far; sums over all of their assignments."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT j.id, coalesce(a.workload, 0), coalesce(r.scheduling, 0),
                coalesce(r.response, 0), coalesce(a.attained, 0)
            FROM unnest(%(jobs)s::uuid[]) AS j(id)
            LEFT JOIN LATERAL (
                SELECT sum(extract(epoch FROM coalesce(ended_at, %(now)s) - bound_at)) AS attained,
                    avg(extract(epoch FROM ended_at - bound_at))
                        FILTER (WHERE status = 'reported') AS workload
                FROM jobs_assignment WHERE job_id = j.id
            ) a ON true
            LEFT JOIN LATERAL (
                SELECT extract(epoch FROM coalesce(executing_at, closed_at) - opened_at)
                        AS scheduling,
                    extract(epoch FROM closed_at - coalesce(executing_at, closed_at)) AS response
                FROM jobs_round
                WHERE job_id = j.id AND kind = 'train' AND outcome = 'completed'
                ORDER BY number DESC LIMIT 1
            ) r ON true
            """,
            {"now": now, "jobs": list(job_ids)},
        )
        rows = cursor.fetchall()
    return {job_id: JobPast(*(max(0.0, float(one)) for one in found)) for job_id, *found in rows}


@dataclass(slots=True)
class ClosedRounds:
    """What rounds of a job took that have closed.

    ``tasks`` counts the train tasks that were reported by the logarithm of their time, ``tasks_s``
    is their sum and ``held_s`` that of all assignments. ``speeds`` has the same tasks by the speed
    of their device, None if it tells none. ``last`` is, of the last train round that had its
    quorum, the time to bind its devices and from there to its close.
    """

    tasks: dict[int, int] = field(default_factory=dict)
    tasks_s: float = 0.0
    held_s: float = 0.0
    speeds: dict[int | None, dict[int, int]] = field(default_factory=dict)
    last: tuple[float, float] | None = None


def closed_rounds(
    *, since: datetime | None, until: datetime, least_s: float, step: float, score: str
) -> dict[UUID, ClosedRounds]:
    """Return what unfinished jobs' rounds took that closed after ``since``; all if that is None.

    A task is counted under n if it took ``least_s`` · ``step``^n seconds, rounded down, and a
    device's speed is told by its attribute ``score`` on the same scale. Reads each round's
    assignments once, when it has closed.
    """
    given = {"since": since or "-infinity", "until": until, "least": least_s, "step": step}
    given["score"] = score
    found: dict[UUID, ClosedRounds] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT r.job_id,
                extract(epoch FROM coalesce(r.executing_at, r.closed_at) - r.opened_at),
                extract(epoch FROM r.closed_at - coalesce(r.executing_at, r.closed_at))
            FROM jobs_round r JOIN jobs_job j ON j.id = r.job_id AND j.status <> 'finished'
            WHERE r.closed_at > %(since)s::timestamptz AND r.closed_at <= %(until)s
              AND r.kind = 'train' AND r.outcome IN ('', 'completed')
            ORDER BY r.closed_at
            """,
            given,
        )
        for job_id, scheduling_s, response_s in cursor.fetchall():
            last = max(0.0, float(scheduling_s)), max(0.0, float(response_s))
            found.setdefault(job_id, ClosedRounds()).last = last
        cursor.execute(
            """
            SELECT a.job_id, CASE WHEN a.status = 'reported' AND r.kind = 'train' THEN
                    floor(ln(greatest(t.s, %(least)s) / %(least)s) / ln(%(step)s))::int END AS n,
                CASE WHEN d.score > 0 THEN
                    floor(ln(greatest(d.score, %(least)s::numeric) / %(least)s::numeric)
                        / ln(%(step)s::numeric))::int END AS speed,
                count(*), sum(t.s)
            FROM jobs_round r
            JOIN jobs_job j ON j.id = r.job_id AND j.status <> 'finished'
            JOIN jobs_assignment a ON a.round_id = r.id AND a.ended_at IS NOT NULL
            CROSS JOIN LATERAL (
                SELECT greatest(0, extract(epoch FROM a.ended_at - a.bound_at))::float AS s
            ) t
            LEFT JOIN LATERAL (
                SELECT CASE WHEN jsonb_typeof(attributes -> %(score)s) = 'number'
                    THEN (attributes ->> %(score)s)::numeric END AS score
                FROM clients_device WHERE id = a.device_id
            ) d ON true
            WHERE r.closed_at > %(since)s::timestamptz AND r.closed_at <= %(until)s
            GROUP BY a.job_id, n, speed
            """,
            given,
        )
        for job_id, bucket, speed, count, seconds in cursor.fetchall():
            one = found.setdefault(job_id, ClosedRounds())
            one.held_s += seconds
            if bucket is not None:
                one.tasks[bucket] = one.tasks.get(bucket, 0) + count
                one.tasks_s += seconds
                one.speeds.setdefault(speed, {})[bucket] = count
    return found


def decayed_device_seconds(
    tenant_ids: Iterable[UUID], *, half_life_s: float, now: datetime
) -> dict[UUID, float]:
    """Return the seconds that tenants held devices until ``now``, older ones counting less.

    An assignment counts half for every half-life that has passed since it ended; what ended
    twelve of them ago is left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT tenant_id, sum(extract(epoch FROM ended_at - bound_at) * power(
                0.5, extract(epoch FROM %(now)s - ended_at) / %(half_life)s))
            FROM jobs_assignment
            WHERE tenant_id = ANY(%(tenants)s::uuid[]) AND ended_at <= %(now)s
              AND ended_at > %(since)s
            GROUP BY tenant_id
            """,
            {
                "now": now,
                "half_life": half_life_s,
                "since": now - timedelta(seconds=12 * half_life_s),
                "tenants": list(tenant_ids),
            },
        )
        return {tenant_id: float(seconds) for tenant_id, seconds in cursor.fetchall()}
