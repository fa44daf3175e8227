"""Moves of a job: admitted, paused, resumed, ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from core import events, hints, reasons
from core.errors import Conflict, NotFound
from jobs import quarantine, states
from jobs.models import Job, Round
from jobs.services import opening, rounds
from tenants import services as tenant_services


class JobUnknown(NotFound):
    """No such job in this tenant."""

    code = "job_unknown"


class WrongState(Conflict):
    """The job is not in a state that allows this."""

    code = "wrong_state"


@transaction.atomic
def admit(
    *,
    job_id: UUID,
    numbers: Mapping[str, Any],
    now: datetime,
    granted_demand: int | None = None,
) -> bool:
    """Start a submitted job with its first round; False if it was not waiting for that.

    ``granted_demand``: its train rounds ask for that many devices only (partial admission).
    """
    reason = {"code": "admitted", **numbers}
    moved = Job.objects.filter(id=job_id, status=Job.Status.SUBMITTED).update(
        status=Job.Status.RUNNING, started_at=now, reason=reason, granted_demand=granted_demand
    )
    if not moved:
        return False
    job = Job.objects.get(id=job_id)
    held = quarantine.held_by(job_id, job.spec["workload"], quarantine.in_force())
    events.append("job.admitted", now=now, tenant_id=job.tenant_id, job_id=job_id, **numbers)
    if held and not job.held:  # before a round opens, so that no device is ever offered it
        Job.objects.filter(id=job_id).update(held=held)
        events.append("job.quarantined", now=now, tenant_id=job.tenant_id, job_id=job_id)
    if not job.is_driven:
        opening.open_round(job, kind=Round.Kind.TRAIN, number=1, attempt=1, now=now)
    return True


@transaction.atomic
def hold(
    *, job_id: UUID, code: str, message: str, numbers: Mapping[str, Any], now: datetime
) -> bool:
    """Leave a submitted job queued and say for what; False if nothing new was said."""
    reason = {"code": code, "message": message, **numbers}
    waiting = Job.objects.filter(id=job_id, status=Job.Status.SUBMITTED).exclude(reason=reason)
    job = waiting.select_for_update(no_key=True).first()
    if job is None:
        return False
    told = job.reason.get("code") == code
    Job.objects.filter(id=job_id).update(reason=reason)
    if told:  # only the numbers have changed: no news for those who follow events
        events.changed(tenant_id=job.tenant_id, job_id=job_id, kind="job.queued")
    else:
        events.append("job.queued", now=now, tenant_id=job.tenant_id, job_id=job_id, code=code)
    return True


@transaction.atomic
def grant_demand(*, job_id: UUID, demand: int | None, now: datetime) -> bool:
    """Set how many devices the next train rounds ask for; None for all that the spec says."""
    open_jobs = Job.objects.filter(id=job_id).exclude(status=Job.Status.FINISHED)
    if not open_jobs.exclude(granted_demand=demand).update(granted_demand=demand):
        return False
    job = Job.objects.get(id=job_id)
    events.append(
        "job.demand_granted", now=now, tenant_id=job.tenant_id, job_id=job_id, demand=demand
    )
    return True


@transaction.atomic
def reject(
    *,
    job_id: UUID,
    code: str,
    message: str,
    now: datetime,
    numbers: Mapping[str, Any] | None = None,
) -> bool:
    """Refuse a submitted job; False if it was not waiting for that."""
    waiting = Job.objects.filter(id=job_id, status=Job.Status.SUBMITTED)
    # Locked: another worker may admit it at this moment. It has no rounds yet, so the order holds.
    if waiting.select_for_update(no_key=True).first() is None:
        return False
    return rounds.finish_job(
        job_id=job_id,
        outcome=Job.Outcome.REJECTED,
        code=code,
        message=message,
        now=now,
        numbers=numbers,
    )


@transaction.atomic
def cancel(*, job_id: UUID, actor: str, now: datetime, reason: str = "") -> Job:
    """End a job now; devices that train for it are told. Again is the same.

    Raises JobUnknown; WrongState if it has ended otherwise.
    """
    job = _get(job_id)
    ended = rounds.finish_job(
        job_id=job_id,
        outcome=Job.Outcome.CANCELLED,
        code="cancelled",
        message=f"by {actor}: {reason}" if reason else f"by {actor}",
        now=now,
    )
    job.refresh_from_db()
    if ended:
        _audit(job, actor, "job.cancel", now, **reasons.told(reason))
    elif job.outcome != Job.Outcome.CANCELLED:
        raise WrongState(f"the job has ended already: {job.outcome}")
    return job


@transaction.atomic
def pause(*, job_id: UUID, actor: str, now: datetime, reason: str = "") -> Job:
    """Stop selecting devices; bound ones may report. Raises JobUnknown, WrongState."""
    job = _move(job_id, Job.Status.RUNNING, Job.Status.PAUSED, "pause")
    _audit(job, actor, "job.pause", now, **reasons.told(reason))
    events.append("job.paused", now=now, tenant_id=job.tenant_id, job_id=job_id)
    hints.send("scheduling.plan", queue="scheduling")
    return job


@transaction.atomic
def resume(*, job_id: UUID, actor: str, now: datetime, reason: str = "") -> Job:
    """Select devices again; a round that was selecting gets its whole window anew.

    Raises JobUnknown, WrongState.
    """
    _get(job_id)
    _, held = rounds.lock(job_id)
    job = _move(job_id, Job.Status.PAUSED, Job.Status.RUNNING, "resume")
    for selecting in (one for one in held if one.status == Round.Status.SELECTING):
        Round.objects.filter(id=selecting.id).update(
            selection_ends_at=now + timedelta(seconds=selecting.selection_s)
        )
    _audit(job, actor, "job.resume", now, **reasons.told(reason))
    events.append("job.resumed", now=now, tenant_id=job.tenant_id, job_id=job_id)
    hints.send("scheduling.plan", queue="scheduling")
    return job


def _get(job_id: UUID) -> Job:
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        raise JobUnknown(f"no job {job_id}")
    return job


def _move(job_id: UUID, source: str, target: str, verb: str) -> Job:
    job = _get(job_id)
    if target not in states.JOB[Job.Status(source)]:
        raise ValueError(f"{source} to {target} is not in the table")
    moved = Job.objects.filter(id=job_id, status=source).update(status=target)
    job.refresh_from_db()
    if not moved:
        raise WrongState(f"the job is {job.status}; only a {source} job can {verb}")
    return job


def _audit(job: Job, actor: str, action: str, now: datetime, **detail: str) -> None:
    tenant_services.audit(
        tenant_id=job.tenant_id, actor=actor, action=action, target=str(job.id), now=now,
        name=job.name, **detail,
    )  # fmt: skip
