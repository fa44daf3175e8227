"""Jobs that need a look: what they wait for does not come by itself, or they ended badly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import redis.exceptions
from django.db.models import Count, F, Window

from jobs import selectors as job_selectors
from jobs.models import Job, Round
from scheduling import supply
from scheduling.supply import Online

LATELY = timedelta(days=7)
URGENT = 5
"""Of those that are stuck, and of those that failed, the newest are named."""
STALLED_AFTER = timedelta(minutes=1)
"""A new group's devices are known after some seconds; a shorter wait says nothing."""


@dataclass(frozen=True, slots=True)
class Troubles:
    """Jobs in progress, newest first; those that are stuck; those that failed, some named.

    ``selecting`` are the rounds that wait for devices, by job; ``online`` is None while Redis,
    which knows it, is away.
    """

    active: list[Job]
    selecting: Mapping[UUID, Round]
    online: Online | None
    stuck: list[Job]
    failed: Sequence[Job]
    failures: int

    @property
    def named(self) -> list[Job]:
        """Those that are told by name."""
        return [*self.stuck[:URGENT], *self.failed]

    @property
    def stuck_more(self) -> int:
        """How many more are stuck than are named."""
        return max(0, len(self.stuck) - URGENT)

    @property
    def failed_more(self) -> int:
        """How many more failed than are named."""
        return self.failures - len(self.failed)


def find(*, now: datetime) -> Troubles:
    """Return the tenant's jobs in progress and in trouble; the tenant has been entered."""
    active = list(Job.objects.filter(job_selectors.OPEN).order_by("-id"))
    failed = Job.objects.filter(job_selectors.TROUBLE, finished_at__gt=now - LATELY)
    counted = failed.annotate(of=Window(Count("id")))
    newest = list(counted.order_by(F("finished_at").desc())[:URGENT])
    selecting, online = _selecting(active), _online()
    stalled = _stalled(active, selecting, online, now)
    return Troubles(
        active=active,
        selecting=selecting,
        online=online,
        stuck=[job for job in active if is_put_off(job) or job.id in stalled],
        failed=newest,
        failures=newest[0].of if newest else 0,
    )


def is_put_off(job: Job) -> bool:
    """Tell whether admission put a job off; else one that is stuck finds nobody who fits."""
    return job.status == Job.Status.SUBMITTED and bool(job.reason.get("code"))


def _selecting(jobs: Sequence[Job]) -> dict[UUID, Round]:
    running = [job.id for job in jobs if job.status == Job.Status.RUNNING]
    rows = Round.objects.filter(
        job_id__in=running, status=Round.Status.SELECTING, assigned__lt=F("target")
    )
    return {row.job_id: row for row in rows.order_by("kind", "id")}


def _online() -> Online | None:
    try:
        return supply.online()
    except redis.exceptions.RedisError:
        return None


def _stalled(
    jobs: Sequence[Job], selecting: Mapping[UUID, Round], online: Online | None, now: datetime
) -> set[UUID]:
    """Return the running jobs that select for a while with nobody connected who fits."""
    if online is None:
        return set()
    there = supply.by_group(online.idle) + supply.by_group(online.busy)
    return {
        job.id
        for job in jobs
        if (row := selecting.get(job.id)) is not None
        and row.opened_at < now - STALLED_AFTER
        and not there[job.constraint_group]
    }
