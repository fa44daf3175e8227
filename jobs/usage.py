"""Reads of what tenants and jobs have had of the fleet: jobs, device-seconds, times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

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


def admitted_jobs(tenant_id: UUID) -> int:
    """Return how many jobs of a tenant are admitted and have not finished."""
    running = (Job.Status.RUNNING, Job.Status.PAUSED)
    return Job.objects.filter(tenant_id=tenant_id, status__in=running).count()


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
