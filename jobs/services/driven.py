"""Driven jobs: a framework that owns its optimisation loop starts the rounds itself.

Each round begins from parameters of the driver's own and ends with a sum over its reports; what to
make of that, and whether to go on, is the driver's business. A round that fails is not repeated.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from core import events, knobs
from core.errors import Conflict, Invalid, NotFound
from jobs.models import Artifact, Job, Round
from jobs.services import opening, rounds
from jobs.services.artifacts import ArtifactUnknown
from jobs.services.lifecycle import JobUnknown, WrongState
from tenants import services as tenant_services


class NotDriven(Conflict):
    """The platform runs this job's rounds by itself."""

    code = "not_driven"


class RoundUnderWay(Conflict):
    """The round before has not ended."""

    code = "round_under_way"


class WrongNumber(Conflict):
    """Rounds are started one after the other, each once."""

    code = "wrong_number"


class RoundUnknown(NotFound):
    """The job has no such round."""

    code = "round_unknown"


class BadDemand(Invalid):
    """More devices than the job was admitted for, or fewer than a result is released over."""

    code = "bad_demand"


@transaction.atomic
def start_round(
    *, job_id: UUID, number: int, parameters: str, demand: int | None, actor: str, now: datetime
) -> tuple[Round, bool]:
    """Open round ``number`` of a driven job on these parameters; tells whether it is new.

    The same again changes nothing, so that a lost answer can be asked for again.

    Raises JobUnknown, NotDriven, WrongState, RoundUnderWay, WrongNumber, BadDemand,
    ArtifactUnknown.
    """
    require_driven(job_id)
    job, held = rounds.lock(job_id)
    asked = job.spec["rounds"]["demand"] if demand is None else demand
    last = Round.objects.filter(job=job).order_by("number").last()
    if last is not None and last.number == number:
        return _again(job, last, parameters, asked), False
    if job.status != Job.Status.RUNNING:
        raise WrongState(f"the job is {job.status} {job.outcome}".strip() + "; it takes no rounds")
    if held:
        raise RoundUnderWay(f"round {held[0].number} is {held[0].status}: wait for its end")
    _check(job, number, 1 if last is None else last.number + 1, asked)
    size_bytes = _take(job, parameters)
    Job.objects.filter(id=job.id).update(parameters_digest=parameters, parameters_size=size_bytes)
    job.refresh_from_db()
    opened = opening.open_round(
        job, kind=Round.Kind.TRAIN, number=number, attempt=1, now=now, demand=asked
    )
    tenant_services.audit(
        tenant_id=job.tenant_id, actor=actor, action="round.start",
        target=f"{job.id}/{number}", now=now, demand=asked,
    )  # fmt: skip
    return opened, True


@transaction.atomic
def finish(*, job_id: UUID, actor: str, now: datetime) -> Job:
    """End a driven job as completed; a round under way is abandoned. Again is the same.

    Raises JobUnknown, NotDriven, WrongState.
    """
    job = require_driven(job_id)
    ended = rounds.finish_job(
        job_id=job_id, outcome=Job.Outcome.COMPLETED, code="completed",
        message=f"by {actor}", now=now,
    )  # fmt: skip
    job.refresh_from_db()
    if ended:
        tenant_services.audit(
            tenant_id=job.tenant_id, actor=actor, action="job.finish", target=str(job.id), now=now
        )
    elif job.outcome != Job.Outcome.COMPLETED:
        raise WrongState(f"the job has ended already: {job.outcome}")
    return job


def require_driven(job_id: UUID) -> Job:
    """Return a driven job. Raises JobUnknown, NotDriven."""
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        raise JobUnknown(f"no job {job_id}")
    if not job.is_driven:
        raise NotDriven("the platform runs this job's rounds; submit one with driven = true")
    return job


@transaction.atomic
def complete(*, round_id: UUID, metrics: dict[str, float], now: datetime) -> None:
    """Record the end of a driven job's round. Raises RoundOver."""
    round_ = rounds.locked_aggregating(round_id)
    Round.objects.filter(id=round_id).update(
        status=Round.Status.FINISHED,
        outcome=Round.Outcome.COMPLETED,
        metrics=metrics,
        finished_at=now,
    )
    opening.tell("round.completed", round_, now)
    events.changed(tenant_id=round_.tenant_id, job_id=round_.job_id, kind="job.waits")


def _again(job: Job, last: Round, parameters: str, demand: int) -> Round:
    # Under partial admission it was opened with what was granted then, which may be less.
    is_cut = bool(job.spec["rounds"].get("min_demand")) and last.demand < demand
    if last.base_digest != parameters or not (last.demand == demand or is_cut):
        raise WrongNumber(
            f"round {last.number} was started with parameters {last.base_digest[:12]}… and a "
            f"demand of {last.demand}; the next one is {last.number + 1}"
        )
    return last


def _check(job: Job, number: int, following: int, demand: int) -> None:
    if number != following:
        raise WrongNumber(f"round {number} was asked for; the next one is {following}")
    sizes = job.spec["rounds"]
    if number > sizes["count"]:
        raise WrongNumber(f"the job has {sizes['count']} rounds (rounds.count), all were started")
    least, most = max(sizes["min_cohort"], knobs.get().min_cohort), sizes["demand"]
    if not least <= demand <= most:
        text = f"{demand}; {least} (the least cohort) to {most} (rounds.demand) is allowed"
        raise BadDemand(f"demand: {text}", errors={"demand": text})


def _take(job: Job, digest: str) -> int:
    """Find the parameters' size. They stay for others that uploaded the same."""
    found = Artifact.objects.filter(
        tenant_id=job.tenant_id,
        digest=digest,
        kind__in=(Artifact.Kind.ROUND, Artifact.Kind.PARAMETERS),
        status=Artifact.Status.VALID,
    )
    size_bytes = found.values_list("size_bytes", flat=True).first()
    if size_bytes is None:
        raise ArtifactUnknown(
            f"no parameters {digest} were uploaded for a round of this job",
            errors={"parameters": f"{digest} was not uploaded to /jobs/{job.id}/parameters"},
        )
    return size_bytes
