"""Moves of a round, and of the job that they carry forward.

Locks are taken in one order everywhere: rounds (by id), the job, assignments (by id). They are
``FOR NO KEY UPDATE``, so that no insert of a row that points here waits for them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from core import events, hints, knobs
from core.errors import Conflict
from jobs import states
from jobs.models import Assignment, Job, Round


class RoundOver(Conflict):
    """The round is not aggregating (any more)."""

    code = "round_over"


def lock(job_id: UUID) -> tuple[Job, list[Round]]:
    """Lock the unfinished rounds of a job by id, then the job: for moves of more than one round.

    Runs inside the caller's transaction, before it locks anything else.
    """
    unfinished = Round.objects.filter(job_id=job_id).exclude(status=Round.Status.FINISHED)
    while True:
        before = transaction.savepoint()
        held = list(unfinished.order_by("id").select_for_update(no_key=True))
        job = Job.objects.select_for_update(no_key=True).get(id=job_id)
        if {one.id for one in held} >= set(unfinished.values_list("id", flat=True)):
            transaction.savepoint_commit(before)
            return job, held
        # A round opened while we waited. Its lock after the job's would be out of order: let go
        # of all and begin again.
        transaction.savepoint_rollback(before)


def open_round(job: Job, *, kind: str, number: int, attempt: int, now: datetime) -> Round:
    """Open a round on the job's newest version. The caller's transaction holds the job."""
    sizes = job.spec["rounds"]
    demand = sizes["demand"] if kind == Round.Kind.TRAIN else job.spec["evaluation"]["demand"]
    if job.granted_demand is not None:
        demand = min(demand, job.granted_demand)
    cohort = max(sizes["min_cohort"], knobs.get().min_cohort)
    opened = Round.objects.create(
        tenant_id=job.tenant_id,
        job=job,
        number=number,
        attempt=attempt,
        kind=kind,
        demand=demand,
        target=_ceil(demand * sizes["over_selection"]),
        quorum=min(demand, max(cohort, _ceil(demand * sizes["quorum"]))),
        base_version=job.version,
        base_digest=job.parameters_digest,
        base_size=job.parameters_size,
        seed=_seed(job.spec["seed"], kind, number, attempt),
        selection_s=sizes["selection_s"],
        deadline_s=sizes["deadline_s"],
        opened_at=now,
        selection_ends_at=now + timedelta(seconds=sizes["selection_s"]),
    )
    _tell("round.opened", opened, now)
    hints.send("scheduling.plan", queue="scheduling")
    return opened


def start_executing(round_: Round, *, now: datetime) -> bool:
    """End selection with the devices that are bound."""
    moved = Round.objects.filter(id=round_.id, status=Round.Status.SELECTING).update(
        status=Round.Status.EXECUTING,
        executing_at=now,
        deadline_at=now + timedelta(seconds=round_.deadline_s),
    )
    if moved:
        _tell("round.executing", round_, now)
    return bool(moved)


def close(round_: Round, *, now: datetime) -> bool:
    """Freeze the round: what has been acknowledged is folded, what comes later is refused."""
    moved = Round.objects.filter(id=round_.id, status__in=states.OPEN_ROUND).update(
        status=Round.Status.AGGREGATING, closed_at=now
    )
    if not moved:
        return False
    cancel_bound([round_.id], code="round_closed", now=now)
    _tell("round.aggregating", round_, now)
    hints.send("aggregation.fold", str(round_.id), queue="aggregation")
    hints.send("scheduling.plan", queue="scheduling")
    return True


@transaction.atomic
def complete_round(
    *,
    round_id: UUID,
    parameters_digest: str,
    parameters_size: int,
    version: int,
    metrics: Mapping[str, Any],
    now: datetime,
) -> None:
    """Record a round's result and open what follows: rounds of the next version, or the end.

    For an evaluation round, the parameters are those that it started from and do not change.

    Raises RoundOver: another worker was faster, or the job has ended.
    """
    round_ = _locked_aggregating(round_id)
    Round.objects.filter(id=round_id).update(
        status=Round.Status.FINISHED,
        outcome=Round.Outcome.COMPLETED,
        metrics=dict(metrics),
        finished_at=now,
    )
    job = Job.objects.select_for_update(no_key=True).get(id=round_.job_id)
    _tell("round.completed", round_, now)
    if round_.kind == Round.Kind.TRAIN:
        Job.objects.filter(id=job.id).update(
            version=version, parameters_digest=parameters_digest, parameters_size=parameters_size
        )
        job.refresh_from_db()
        _open_following(job, round_, now)
    _finish_if_done(job, now)


@transaction.atomic
def fail_round(*, round_id: UUID, code: str, message: str, now: datetime) -> None:
    """Give up an attempt: the next one opens, or the job fails. Again is the same."""
    job, held = lock(Round.objects.values_list("job_id", flat=True).get(id=round_id))
    round_ = next((one for one in held if one.id == round_id), None)
    if round_ is None:
        return
    evaluation = round_.kind == Round.Kind.EVALUATE
    outcome = Round.Outcome.ABANDONED if evaluation else Round.Outcome.FAILED
    _end([round_], outcome=outcome, code=code, message=message, now=now)
    if evaluation:
        _finish_if_done(job, now)
        return
    rules = job.spec["rounds"]
    if rules["on_shortfall"] == "fail" or round_.attempt >= rules["max_attempts"]:
        text = f"round {round_.number} failed at attempt {round_.attempt}: {message}"
        finish_job(job_id=job.id, outcome=Job.Outcome.FAILED, code=code, message=text, now=now)
    elif job.status != Job.Status.FINISHED:
        open_round(job, kind=round_.kind, number=round_.number, attempt=round_.attempt + 1, now=now)


@transaction.atomic
def finish_job(
    *,
    job_id: UUID,
    outcome: str,
    code: str,
    message: str,
    now: datetime,
    numbers: Mapping[str, Any] | None = None,
) -> bool:
    """End a job and abandon its open rounds; False if it had ended."""
    job, held = lock(job_id)
    moved = Job.objects.filter(
        id=job_id, status__in=states.before(states.JOB, Job.Status.FINISHED)
    ).update(
        status=Job.Status.FINISHED,
        outcome=outcome,
        reason={"code": code, "message": message, **(numbers or {})},
        finished_at=now,
    )
    if not moved:
        return False
    _end(held, outcome=Round.Outcome.ABANDONED, code=code, message="", now=now)
    events.append(f"job.{outcome}", now=now, tenant_id=job.tenant_id, job_id=job_id, code=code)
    hints.send("scheduling.plan", queue="scheduling")
    return True


def cancel_bound(round_ids: list[UUID], *, code: str, now: datetime) -> None:
    """Take back what devices hold of these rounds, and tell the gateways."""
    bound = Assignment.objects.filter(round_id__in=round_ids, status=Assignment.Status.BOUND)
    ids = list(bound.order_by("id").select_for_update(no_key=True).values_list("id", flat=True))
    if ids:
        Assignment.objects.filter(id__in=ids).update(
            status=Assignment.Status.CANCELLED, code=code, ended_at=now
        )
        hints.to_gateways({"cancelled": [str(one) for one in ids], "code": code})


def _open_following(job: Job, done: Round, now: datetime) -> None:
    if job.status == Job.Status.FINISHED:
        return
    every = job.spec["evaluation"]["every"]
    last = done.number >= job.spec["rounds"]["count"]
    if every and (done.number % every == 0 or last):
        open_round(job, kind=Round.Kind.EVALUATE, number=done.number, attempt=1, now=now)
    if not last:
        open_round(job, kind=Round.Kind.TRAIN, number=done.number + 1, attempt=1, now=now)


def _finish_if_done(job: Job, now: datetime) -> None:
    trained = Round.objects.filter(
        job=job,
        kind=Round.Kind.TRAIN,
        number=job.spec["rounds"]["count"],
        outcome=Round.Outcome.COMPLETED,
    ).exists()
    unfinished = Round.objects.filter(job=job).exclude(status=Round.Status.FINISHED).exists()
    if trained and not unfinished:
        finish_job(
            job_id=job.id, outcome=Job.Outcome.COMPLETED, code="completed", message="", now=now
        )


def _end(found: list[Round], *, outcome: str, code: str, message: str, now: datetime) -> None:
    if not found:
        return
    ids = [round_.id for round_ in found]
    Round.objects.filter(id__in=ids).update(
        status=Round.Status.FINISHED,
        outcome=outcome,
        reason={"code": code, "message": message},
        closed_at=now,
        finished_at=now,
    )
    cancel_bound(ids, code=code, now=now)
    for round_ in found:
        _tell(f"round.{outcome}", round_, now, code=code)
    hints.send("scheduling.plan", queue="scheduling")


def _locked_aggregating(round_id: UUID) -> Round:
    round_ = Round.objects.select_for_update(no_key=True).get(id=round_id)
    if round_.status != Round.Status.AGGREGATING:
        raise RoundOver(f"round {round_id} is {round_.status} {round_.outcome}".strip())
    return round_


def _tell(kind: str, round_: Round, now: datetime, **data: Any) -> None:
    events.append(
        kind,
        now=now,
        tenant_id=round_.tenant_id,
        job_id=round_.job_id,
        round_id=round_.id,
        number=round_.number,
        attempt=round_.attempt,
        round_kind=round_.kind,
        **data,
    )


def _ceil(devices: float) -> int:
    """Round up, but not for the last bits of a product: 100 × 1.1 is 110, not 111."""
    return math.ceil(round(devices, 6))


def _seed(seed: int, kind: str, number: int, attempt: int) -> int:
    """Return the round's own seed, a function of the job's and its place: runs can be repeated."""
    text = f"{seed}:{kind}:{number}:{attempt}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8]) >> 1


def count_lost(round_ids: Mapping[UUID, int]) -> None:
    """Return the slots of assignments that ended without a report."""
    for round_id in sorted(round_ids):
        lost = round_ids[round_id]
        Round.objects.filter(id=round_id).update(
            assigned=F("assigned") - lost, lost=F("lost") + lost
        )
    if round_ids:
        hints.send("scheduling.plan", queue="scheduling")
