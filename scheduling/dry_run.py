"""A dry run: what would come of a job file, by fleet, quota and supply. Writes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import redis
from django.db.models import Count

from clients.models import Device
from clients.telling import Told
from core import knobs
from core.errors import Unprocessable
from jobs import holdout
from jobs import services as job_services
from jobs.constraints import Group, Profile
from jobs.models import Assignment, Job
from scheduling import (
    admission,
    census,
    eligibility,
    explaining,
    learning,
    quotas,
    refusals,
    supply,
)
from scheduling.admission import FLEET, QUOTA, Verdict
from scheduling.eligibility import Fitting
from scheduling.explaining import Refusal
from tenants.scopes import system_scope

RATE_WINDOW_S = 3_600
JOBS_LOOKED_AT = 50
RoundBy = Literal["", "learnt", "deadline"]
Decision = Literal["invalid", "admitted", "queued", "rejected"]


@dataclass(frozen=True, slots=True)
class DryRun:
    """``errors`` by field; without any, what admission would decide now and by which reason.

    ``fitting`` is None where the constraints themselves cannot be read. ``granted`` devices a
    round may ask for, ``target`` would be bound: at least, where ``fitting`` tells bounds only.
    ``fill_s`` is the time until that many are there, if nobody goes first; None if no device that
    fits has checked in during the last hour.
    ``round_s`` is how long the first round would take from then to its close: as ``round_by`` says,
    what the tenant's newest job of the same workload took last, or at most its deadline.
    ``refusals`` tell how devices found their data when the tenant's newest jobs asked for the same:
    what is on a device is judged there, so nobody knows before one has been asked.
    ``training`` and ``evaluation``: about how many of the fitting devices of the last day would be
    left to train and be held out, if the job holds out any.
    """

    decision: Decision
    reason: str
    code: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    fitting: Fitting | None = None
    demand: int = 0
    granted: int = 0
    target: int = 0
    fill_s: float | None = None
    round_s: float | None = None
    round_by: RoundBy = ""
    refusals: tuple[Refusal, ...] = ()
    training: Told | None = None
    evaluation: Told | None = None


def rehearse(
    *, tenant_id: UUID, raw: Mapping[str, Any], submitted_by: str, now: datetime
) -> DryRun:
    """Say what submitting ``raw`` would come to; inside the tenant's scope."""
    try:
        job = job_services.draft(tenant_id=tenant_id, raw=raw, submitted_by=submitted_by, now=now)
    except job_services.SpecInvalid as error:
        return DryRun("invalid", error.detail, error.code, error.errors)
    fault = _fault(job)
    group = Group.of(job.spec["effective"])
    with system_scope():
        fleet = census.take(now=now)
        busy = _busy(group)
    fits = eligibility.of_group(tenant_id, fleet, group)
    verdict = admission.judge(job, fleet, quotas.quota_of(tenant_id), now=now)
    granted = verdict.granted.least
    target = _target(job, granted)
    fraction = holdout.fraction_of(job.spec)
    evaluation = fits.day.share(fraction) if fraction else None
    training = fits.day.share(1 - fraction) if fraction else None
    jobs = Job.objects.filter(tenant_id=tenant_id).order_by("-id").only("id", "spec")
    newest = list(jobs[:JOBS_LOOKED_AT])
    round_s, round_by = _round_s(job, newest)
    decision, reason = _decided(verdict, fits, job.spec["rounds"]["demand"])
    if training is not None and evaluation is not None and verdict.code in FLEET:
        reason += _of_held_out(training, evaluation, job)
    if fault is not None:
        decision, reason = "invalid", fault.detail
    return DryRun(
        decision=decision,
        reason=reason,
        code=fault.code if fault else verdict.code,
        errors=fault.errors if fault else {},
        fitting=fits,
        demand=job.spec["rounds"]["demand"],
        granted=granted,
        target=target,
        fill_s=_fill_s(
            group, target - max(0, fits.online.share(1 - fraction).least - busy), 1 - fraction
        ),
        round_s=round_s,
        round_by=round_by,
        training=training,
        evaluation=evaluation,
        refusals=_refusals(job, newest, now),
    )


def _fault(job: Job) -> Unprocessable | None:
    try:
        job_services.uploads(job)
    except (job_services.UnknownArtifact, job_services.ParametersMismatch) as error:
        return error
    return None


def _busy(group: Group) -> int:
    """Count devices at work that ``group`` admits; for the system only."""
    rows = (
        Device.objects.filter(assignment__status=Assignment.Status.BOUND)
        .order_by()
        .values_list("attributes", "workloads", "pool_id")
        .annotate(Count("id"))
    )
    return sum(
        count
        for attributes, workloads, pool_id, count in rows
        if group.admits(Profile(attributes, workloads, str(pool_id)))
    )


def _target(job: Job, granted: int) -> int:
    """Return the devices that a first round of ``granted`` would bind at once."""
    buffered = "buffer_size" in job.spec["strategy"]
    return granted if buffered else job_services.over_selected(granted, job.spec)


def _decided(verdict: Verdict, fits: Fitting, demand: int) -> tuple[Decision, str]:
    if not verdict.code:
        if verdict.granted.least < demand:
            return "admitted", f"with {verdict.granted.text} of {demand} devices a round"
        return "admitted", f"with {demand} devices a round"
    over_quota = verdict.code.startswith(QUOTA)
    rule = knobs.get().admission_over_quota if over_quota else knobs.get().admission
    text = _of_fleet(verdict, fits) if verdict.code in FLEET else verdict.text
    return "rejected" if rule == "refuse" else "queued", text


def _of_fleet(verdict: Verdict, fits: Fitting) -> str:
    """Say by the told counts that too few devices fit: admission's own words have exact ones."""
    return (
        f"{fits.day.text} devices that meet the constraints were there in the last day "
        f"({fits.known.text} known, {fits.online.text} online now); each round asks for at least "
        f"{verdict.numbers['least']}"
    )


def _round_s(job: Job, newest: Sequence[Job]) -> tuple[float, RoundBy]:
    """Return how long a round lasts from its last device to its close, and by what that is told."""
    alike = [one.id for one in newest if one.spec["workload"] == job.spec["workload"]]
    deadline_s = float(job.spec["rounds"]["deadline_s"])
    try:
        learnt = learning.read(alike)
    except redis.RedisError:
        learnt = {}
    for one in alike:
        if one in learnt and (took_s := learnt[one].response_s) > 0:
            return min(took_s, deadline_s), "learnt"
    return deadline_s, "deadline"


def _refusals(job: Job, newest: Sequence[Job], now: datetime) -> tuple[Refusal, ...]:
    """Return why devices found of late that their data is not what this job needs."""
    alike = [one.id for one in newest if _asked(one) == _asked(job)]
    try:
        found = refusals.count(*alike, since=now - refusals.AT_MOST, now=now)
    except redis.RedisError:
        return ()
    return explaining.told_refusals(
        job, {code: devices for code, devices in found.items() if code.split(".")[0] == "dataset"}
    )


def _asked(job: Job) -> tuple[object, object]:
    """Return what the job asks of a device's data."""
    workload = job.spec["workload"]
    return workload.get("dataset"), workload.get("needs")


def _of_held_out(training: Told, evaluation: Told, job: Job) -> str:
    return (
        f"; about {training.text} of them would train and {evaluation.text} be held out for "
        f"evaluation, which needs at least {job_services.evaluation_quorum(job.spec)}"
    )


def _fill_s(group: Group, wanted: int, share: float) -> float | None:
    """Return the time until so many check in as in the last hour, to two digits; 0 for none.

    Only a ``share`` of those that fit counts.

    Rounded, so that it does not tell how many exactly are there already.
    """
    if wanted <= 0:
        return 0.0
    try:
        rate = supply.rate_of(group, RATE_WINDOW_S) * share
    except redis.RedisError:
        return None
    if rate <= 0:
        return None
    seconds = wanted / rate
    step = 10.0 ** max(0, math.floor(math.log10(seconds)) - 1) if seconds > 1 else 1.0
    return math.ceil(seconds / step) * step
