"""Admission: may a submitted job start, with how many devices, and if not, by which numbers?"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from clients.telling import Told
from core import knobs
from core.errors import PropiusError
from jobs import holdout
from jobs import services as job_services
from jobs.constraints import Group
from jobs.models import Artifact, Job
from jobs.services import submission
from scheduling import census, eligibility, quotas
from scheduling.census import Census, Eligible
from scheduling.eligibility import Fitting
from scheduling.models import TenantQuota, TenantShare

logger = logging.getLogger(__name__)

Decision = Literal["admitted", "rejected", "queued", "waiting", "decided"]
QUOTA = "quota_"
"""What the codes of reasons begin with that are about the tenant, not about the fleet."""
FLEET = ("no_device", "too_few_devices")


@dataclass(frozen=True, slots=True)
class Verdict:
    """``demand`` devices a round are granted; or, with a ``code``, none for now.

    ``granted`` is what the tenant may know of it before a round shows it.
    """

    numbers: Mapping[str, Any]
    granted: Told
    demand: int = 0
    code: str = ""
    text: str = ""


def admit(*, job_id: UUID, now: datetime, fleet: Census | None = None) -> Decision:
    """Decide on a submitted job. ``waiting``: an upload is still being checked.

    What speaks against it for now refuses it or leaves it queued, as the operator's knobs
    ``admission`` (the fleet) and ``admission_over_quota`` (the tenant) say.
    """
    job = Job.objects.filter(id=job_id, status=Job.Status.SUBMITTED).first()
    if job is None:
        return "decided"
    faults = artifact_faults(job)
    if faults is None:
        return "waiting"
    if faults:
        text = "; ".join(f"{field}: {fault}" for field, fault in faults.items())
        return _reject(job, Verdict({}, Told(), code="artifact_invalid", text=text), now)
    fleet = fleet or census.take(now=now)
    with transaction.atomic():
        # Locked, so that two jobs admitted at once do not both get the last place.
        quota = TenantQuota.objects.select_for_update().filter(tenant_id=job.tenant_id).first()
        verdict = judge(job, fleet, quota, now=now)
        if verdict.code:
            return _put_off(job, verdict, now)
        granted = None if verdict.demand == job.spec["rounds"]["demand"] else verdict.demand
        admitted = job_services.admit(
            job_id=job_id, numbers=verdict.numbers, now=now, granted_demand=granted
        )
    logger.info("job.admitted", extra={"job": str(job_id), **verdict.numbers})
    return "admitted" if admitted else "decided"


def admit_new(*, now: datetime) -> None:
    """Decide on every job whose hint was lost or that waited for a check."""
    _admit_all(Job.objects.filter(reason={}), now)


def admit_queued(*, now: datetime) -> None:
    """Decide again on every queued job, and on partial admissions: the fleet may have changed."""
    _admit_all(Job.objects.exclude(reason={}), now)
    rows = Job.objects.filter(granted_demand__isnull=False).exclude(status=Job.Status.FINISHED)
    partial = list(rows)
    fleet = census.take(now=now) if partial else None
    for job in partial:
        assert fleet is not None
        cap = _cap(job, quotas.quota_of(job.tenant_id))
        found = fleet.eligible(Group.of(job.spec["effective"]))
        demand = granted_demand(job.spec, found.day, cap)
        full = demand >= job.spec["rounds"]["demand"]
        job_services.grant_demand(job_id=job.id, demand=None if full else demand, now=now)


def _admit_all(chosen: QuerySet[Job], now: datetime) -> None:
    waiting = chosen.filter(status=Job.Status.SUBMITTED).order_by("-priority", "id")
    jobs = list(waiting)
    fleet = census.take(now=now) if jobs else None
    past: set[UUID] = set()
    for job in jobs:
        assert fleet is not None
        if job.tenant_id in past or _stands(job, fleet):
            continue
        try:
            admit(job_id=job.id, now=now, fleet=fleet)
        except PropiusError as error:
            # One job must not keep the others, nor the plan behind them, from their turn.
            logger.error("admission.failed", extra={"job": str(job.id), "reason": str(error)})
        job.refresh_from_db()
        if job.status == Job.Status.SUBMITTED and job.reason.get("code") in quotas.WHOLE_TENANT:
            past.add(job.tenant_id)


def _stands(job: Job, fleet: Census) -> bool:
    """Tell at the cost of one query that a job is queued for devices that are still not there."""
    if job.reason.get("code") not in FLEET:
        return False
    found, fits = _counted(job, fleet)
    told = _figures(fits)
    same = all(job.reason.get(name) == told[name] for name in ("known", "day"))
    return same and bool(_lack(job, found, fits.day))


def judge(job: Job, fleet: Census, quota: TenantQuota | None, *, now: datetime) -> Verdict:
    """Say whether ``job`` may start, by the fleet and by its tenant's quota.

    It is decided by the exact counts, and said with those that its tenant may know.
    """
    found, fits = _counted(job, fleet)
    rules = job.spec["rounds"]
    least = rules.get("min_demand") or rules["demand"]
    cap = _cap(job, quota)
    granted = Told(*(granted_demand(job.spec, day, cap) for day in (fits.day.least, fits.day.most)))
    numbers = _figures(fits) | {
        "demand": rules["demand"], "least": least, "granted": _figure(granted),
    }  # fmt: skip
    if cap is not None and least > cap:
        text = f"its tenant may hold {cap} devices at once; each round asks for at least {least}"
        return Verdict(numbers | {"allowed": cap}, granted, code=QUOTA + "devices", text=text)
    if quota is not None:
        over = quotas.excess(quota, quotas.usage(job.tenant_id, now=now), ahead=_ahead(job))
        if over is not None:
            bound = {"used": over.used, "allowed": over.allowed}
            return Verdict(numbers | bound, granted, code=over.code, text=over.text)
    lack = _lack(job, found, fits.day)
    if lack:
        codecs = job.spec["effective"].get("codecs")
        fit = "meet the constraints"
        if codecs:
            fit += f" and know one of the job's codecs ({', '.join(codecs)})"
        text = (
            f"{fits.day.text} devices that {fit} were there in the last day ({fits.known.text} "
            f"known, {fits.online.text} online now); {lack}"
        )
        return Verdict(numbers, granted, code=FLEET[found.known > 0], text=text)
    return Verdict(numbers, granted, demand=granted_demand(job.spec, found.day, cap))


def _counted(job: Job, fleet: Census) -> tuple[Eligible, Fitting]:
    """Return how many devices fit, and how many as the job's tenant may know it."""
    group = Group.of(job.spec["effective"])
    return fleet.eligible(group), eligibility.of_group(job.tenant_id, fleet, group)


def _figures(fits: Fitting) -> dict[str, Any]:
    told = {"known": fits.known, "day": fits.day, "online": fits.online}
    return {name: _figure(one) for name, one in told.items()}


def _figure(told: Told) -> int | str:
    return told.least if told.least == told.most else told.text


def _lack(job: Job, found: Eligible, day: Told) -> str:
    """Say what devices lack for the job's rounds; nothing if there are enough."""
    rules, fraction = job.spec["rounds"], holdout.fraction_of(job.spec)
    least = rules.get("min_demand") or rules["demand"]
    kept = found.share(fraction)
    about = f"about {day.share(fraction).text} of them are held out for evaluation"
    if found.day - kept.day < least:
        but = f" and {about}" if fraction else ""
        advice = "Relax the constraints"
        if job.spec["effective"].get("codecs"):
            advice = "Allow more in codec_fallbacks, relax the constraints"
        return (
            f"each round asks for at least {least}{but}. {advice} or lower rounds.demand or "
            "rounds.min_demand"
        )
    judges = job_services.evaluation_quorum(job.spec)
    if fraction and kept.day < judges:
        return f"{about}, which needs at least {judges}. Raise evaluation.fraction"
    return ""


def granted_demand(spec: Mapping[str, Any], day: int, cap: int | None) -> int:
    """Return the devices that each round may ask for: all, or fewer under partial admission.

    ``day`` devices that fit were there within the last day.
    """
    rules = spec["rounds"]
    demand: int = rules["demand"]
    least: int = rules.get("min_demand") or demand
    bounds = [demand, day - Eligible(day=day).share(holdout.fraction_of(spec)).day]
    if cap is not None:
        # Over-selection binds more than the demand; where that is too many, it just binds fewer.
        bounds.append(cap)
    return max(least, min(bounds))


def eligible(group: Group, *, now: datetime) -> Eligible:
    """Count the active devices that ``group`` admits."""
    return census.take(now=now).eligible(group)


def _cap(job: Job, quota: TenantQuota | None) -> int | None:
    share = TenantShare.objects.filter(tenant_id=job.tenant_id).first()
    return quotas.devices_at_once(share, quota)


def _ahead(job: Job) -> int:
    """Count the tenant's jobs that wait for a place among its jobs and go before this one."""
    waiting = Job.objects.filter(
        tenant_id=job.tenant_id, status=Job.Status.SUBMITTED, reason__code=QUOTA + "jobs"
    )
    earlier = waiting.filter(priority=job.priority, id__lt=job.id)
    return (waiting.filter(priority__gt=job.priority) | earlier).count()


def _put_off(job: Job, verdict: Verdict, now: datetime) -> Decision:
    knob = knobs.get()
    over_quota = verdict.code.startswith(QUOTA)
    if (knob.admission_over_quota if over_quota else knob.admission) == "refuse":
        return _reject(job, verdict, now)
    changed = job_services.hold(
        job_id=job.id,
        code=verdict.code,
        message=f"admission: {verdict.text}",
        numbers=verdict.numbers,
        now=now,
    )
    if changed:
        logger.info("job.queued", extra={"job": str(job.id), "code": verdict.code})
    return "queued"


def _reject(job: Job, verdict: Verdict, now: datetime) -> Decision:
    logger.info("job.rejected", extra={"job": str(job.id), "code": verdict.code})
    job_services.reject(
        job_id=job.id,
        code=verdict.code,
        message=verdict.text,
        numbers=verdict.numbers,
        now=now,
    )
    return "rejected"


def artifact_faults(job: Job) -> dict[str, str] | None:
    """Return what is wrong with the job's uploads by field; None while one is being checked."""
    wanted = {"parameters": (Artifact.Kind.PARAMETERS, job.spec["parameters"])}
    if job.spec["workload"]["kind"] == "program":
        wanted["workload.program"] = (Artifact.Kind.PROGRAM, job.spec["workload"]["program"])
    if job.spec.get("frozen"):
        wanted["frozen"] = (Artifact.Kind.PARAMETERS, job.spec["frozen"])
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
            expected=tensors["workload.program"],
            given={**tensors["parameters"], **tensors.get("frozen", {})},
        )
        faults = {f"parameters.{name}": fault for name, fault in differ.items()}
    return faults
