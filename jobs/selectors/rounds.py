"""Rounds that ask for devices, and the round that a job is in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F

from jobs import holdout, states
from jobs.models import Job, Round


@dataclass(frozen=True, slots=True)
class OpenRound:
    """A round that asks for devices; ``remaining`` = target − assigned, 0 if its job is held."""

    id: UUID
    job_id: UUID
    job_name: str
    tenant_id: UUID
    tenant_slug: str
    group: str
    kind: str
    demand: int
    target: int
    assigned: int
    reported: int
    remaining: int
    quorum: int
    opened_at: datetime
    selection_ends_at: datetime
    deadline_at: datetime
    submitted_at: datetime
    priority: int
    rounds_left: int
    effective: dict[str, Any] = field(repr=False)
    private: dict[str, Any] = field(repr=False)
    workload: dict[str, Any] = field(repr=False)
    holdout: holdout.Rule | None = field(default=None, repr=False)


def open_rounds() -> list[OpenRound]:
    """Return the rounds of running jobs that may still bind devices, oldest first."""
    rows = (
        Round.objects.filter(status__in=states.OPEN_ROUND, job__status=Job.Status.RUNNING)
        .select_related("job", "tenant")
        .order_by("opened_at", "id")
    )
    return [_open(row) for row in rows]


def tenants_waiting() -> set[UUID]:
    """Return the tenants whose open rounds have slots that no device is bound to."""
    open_rounds = Round.objects.filter(
        status__in=states.OPEN_ROUND, job__status=Job.Status.RUNNING, assigned__lt=F("target")
    )
    return set(open_rounds.order_by().values_list("tenant_id", flat=True).distinct())


def current_round(job: Job) -> Round | None:
    """Return the job's train round that is not finished, if any."""
    rows = Round.objects.filter(job=job, kind=Round.Kind.TRAIN)
    # Of an asynchronous job the newest: those before it are only being folded.
    return rows.exclude(status=Round.Status.FINISHED).order_by("-id").first()


def current_rounds(jobs: Iterable[Job]) -> dict[UUID, Round]:
    """Return the current train round of each job that has one, in one query."""
    rows = Round.objects.filter(job__in=list(jobs), kind=Round.Kind.TRAIN)
    return {row.job_id: row for row in rows.exclude(status=Round.Status.FINISHED).order_by("id")}


def _open(row: Round) -> OpenRound:
    spec = row.job.spec
    return OpenRound(
        id=row.id,
        job_id=row.job_id,
        job_name=row.job.name,
        tenant_id=row.tenant_id,
        tenant_slug=row.tenant.slug,
        group=row.job.constraint_group,
        kind=row.kind,
        demand=row.demand,
        target=row.target,
        assigned=row.assigned,
        reported=row.reported,
        remaining=0 if row.job.held else row.target - row.assigned,
        quorum=row.quorum,
        opened_at=row.opened_at,
        selection_ends_at=row.selection_ends_at,
        deadline_at=row.deadline_at or row.selection_ends_at + timedelta(seconds=row.deadline_s),
        submitted_at=row.job.submitted_at,
        priority=row.job.priority,
        rounds_left=max(1, spec["rounds"]["count"] - row.number + 1),
        effective=spec["effective"],
        private=spec["constraints"]["private"],
        workload=spec["workload"],
        holdout=holdout.rule_of(spec, row.job.holdout_key, kind=row.kind),
    )
