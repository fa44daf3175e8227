"""Admission: may a submitted job start, and how many devices could ever take it?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from clients.models import Device
from clients.selectors import ONLINE_WITHIN
from core import knobs
from core.errors import PropiusError
from jobs import services as job_services
from jobs.constraints import Group, Profile
from jobs.models import Artifact, Job
from jobs.services import submission

logger = logging.getLogger(__name__)

Decision = Literal["admitted", "rejected", "waiting", "decided"]
_CHUNK = 2_000


@dataclass(frozen=True, slots=True)
class Eligible:
    """Devices that meet a job's public constraints: enrolled, and seen within the last minute."""

    known: int
    online: int


def admit(*, job_id: UUID, now: datetime) -> Decision:
    """Decide on a submitted job. ``waiting``: an upload is still being checked."""
    job = Job.objects.filter(id=job_id, status=Job.Status.SUBMITTED).first()
    if job is None:
        return "decided"
    faults = _artifact_faults(job)
    if faults is None:
        return "waiting"
    if faults:
        text = "; ".join(f"{field}: {fault}" for field, fault in faults.items())
        return _reject(job, "artifact_invalid", text, now)
    found = eligible(Group.of(job.spec["effective"]), now=now)
    demand = job.spec["rounds"]["demand"]
    if knobs.get().admission == "refuse" and found.known < demand:
        text = (
            f"{found.known} known devices meet the constraints ({found.online} online now); "
            f"each round asks for {demand}. Relax the constraints or lower rounds.demand"
        )
        return _reject(job, "too_few_devices", text, now)
    numbers = {"known": found.known, "online": found.online, "demand": demand}
    logger.info("job.admitted", extra={"job": str(job_id), **numbers})
    return "admitted" if job_services.admit(job_id=job_id, numbers=numbers, now=now) else "decided"


def admit_waiting(*, now: datetime) -> None:
    """Decide on every job whose hint was lost or that waited for a check."""
    waiting = Job.objects.filter(status=Job.Status.SUBMITTED).order_by("id")
    for job_id in list(waiting.values_list("id", flat=True)):
        try:
            admit(job_id=job_id, now=now)
        except PropiusError as error:
            # One job must not keep the others, nor the plan behind them, from their turn.
            logger.error("admission.failed", extra={"job": str(job_id), "reason": str(error)})


def eligible(group: Group, *, now: datetime) -> Eligible:
    """Count the active devices that ``group`` admits, in batches; linear in its pools' devices."""
    rows = Device.objects.filter(
        status=Device.Status.ACTIVE, pool_id__in=[UUID(one) for one in group.pools]
    ).values_list("attributes", "workloads", "pool_id", "seen_at")
    since = now - ONLINE_WITHIN
    known = online = 0
    for attributes, workloads, pool_id, seen_at in rows.iterator(chunk_size=_CHUNK):
        if group.admits(Profile(attributes, workloads, str(pool_id))):
            known += 1
            online += seen_at is not None and seen_at > since
    return Eligible(known, online)


def _reject(job: Job, code: str, message: str, now: datetime) -> Decision:
    logger.info("job.rejected", extra={"job": str(job.id), "code": code})
    job_services.reject(job_id=job.id, code=code, message=message, now=now)
    return "rejected"


def _artifact_faults(job: Job) -> dict[str, str] | None:
    """Return what is wrong with the job's uploads by field; None while one is being checked."""
    wanted = {"parameters": (Artifact.Kind.PARAMETERS, job.spec["parameters"])}
    if job.spec["workload"]["kind"] == "program":
        wanted["workload.program"] = (Artifact.Kind.PROGRAM, job.spec["workload"]["program"])
    faults: dict[str, str] = {}
    tensors: dict[str, Mapping[str, Any]] = {}
    checking = False
    for field, (kind, digest) in wanted.items():
        row = Artifact.objects.filter(tenant_id=job.tenant_id, kind=kind, digest=digest).first()
        if row is None:
            faults[field] = f"{kind} {digest} was deleted; upload it and submit again"
        elif row.status == Artifact.Status.CHECKING:
            checking = True
        elif row.status == Artifact.Status.INVALID:
            faults |= {f"{field}.{name}": fault for name, fault in row.errors.items()} or {
                field: f"{kind} {digest} did not pass its check"
            }
        else:
            tensors[field] = row.tensors
    if faults:
        return faults
    if checking:
        return None
    if "workload.program" in tensors:
        differ = submission.mismatches(
            expected=tensors["workload.program"], given=tensors["parameters"]
        )
        faults = {f"parameters.{name}": fault for name, fault in differ.items()}
    return faults
