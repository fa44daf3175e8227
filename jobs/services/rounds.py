"""Moves of a round, and of the job that they carry forward.

Locks are taken in one order everywhere: rounds (by id), the job, assignments (by id). They are
``FOR NO KEY UPDATE``, so that no insert of a row that points here waits for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from core import events, hints
from core.errors import Conflict
from jobs import states
from jobs.models import Job, Round
from jobs.services import buffers, leaves, opening, slots


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


def start_executing(round_: Round, *, now: datetime) -> bool:
    """End selection with the devices that are bound."""
    moved = Round.objects.filter(id=round_.id, status=Round.Status.SELECTING).update(
        status=Round.Status.EXECUTING,
        executing_at=now,
        deadline_at=now + timedelta(seconds=round_.deadline_s),
    )
    if moved:
        opening.tell("round.executing", round_, now)
    return bool(moved)


def close(round_: Round, *, now: datetime) -> bool:
    """Freeze the round: what has been acknowledged is folded, what comes later is refused.

    Not yet, while leaves may still hand over what they have acknowledged.
    """
    if leaves.waits(round_, now=now):
        return False
    leaves.lose_rest(round_, now=now)
    moved = Round.objects.filter(id=round_.id, status__in=states.OPEN_ROUND).update(
        status=Round.Status.AGGREGATING, closed_at=now
    )
    if not moved:
        return False
    if round_.concurrency is not None:
        buffers.follow(round_, now=now)
    slots.cancel_bound([round_.id], code="round_closed", now=now)
    opening.tell("round.aggregating", round_, now)
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
    lock_to_finish(round_id)
    round_ = locked_aggregating(round_id)
    Round.objects.filter(id=round_id).update(
        status=Round.Status.FINISHED,
        outcome=Round.Outcome.COMPLETED,
        metrics=dict(metrics),
        finished_at=now,
    )
    job = Job.objects.select_for_update(no_key=True).get(id=round_.job_id)
    opening.tell("round.completed", round_, now)
    if round_.kind == Round.Kind.TRAIN:
        Job.objects.filter(id=job.id).update(
            version=version, parameters_digest=parameters_digest, parameters_size=parameters_size
        )
        job.refresh_from_db()
        if round_.concurrency is not None:
            buffers.advance(job)
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
    if job.is_driven:
        return  # whether to go on, and with what, its driver decides
    rules = job.spec["rounds"]
    was_folding = round_.concurrency is not None and round_.status == Round.Status.AGGREGATING
    attempt = buffers.failed_in_a_row(job) if was_folding else round_.attempt
    if rules["on_shortfall"] == "fail" or attempt >= rules["max_attempts"]:
        text = f"round {round_.number} failed at attempt {attempt}: {message}"
        finish_job(job_id=job.id, outcome=Job.Outcome.FAILED, code=code, message=text, now=now)
    elif was_folding:
        # The next buffer is open already: its updates make the step that this one did not.
        buffers.open_next(job, now=now)
        buffers.advance(job)
    elif job.status != Job.Status.FINISHED:
        opening.open_round(
            job, kind=round_.kind, number=round_.number, attempt=round_.attempt + 1, now=now
        )


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


def _open_following(job: Job, done: Round, now: datetime) -> None:
    if job.status == Job.Status.FINISHED:
        return
    every = job.spec["evaluation"]["every"]
    # Numbers of buffers that were lost are not given again; a step is counted by its version.
    step = done.number if done.concurrency is None else job.version
    last = step >= job.spec["rounds"]["count"]
    if every and (step % every == 0 or last):
        opening.open_round(job, kind=Round.Kind.EVALUATE, number=step, attempt=1, now=now)
    if not last and done.concurrency is None:
        opening.open_round(job, kind=Round.Kind.TRAIN, number=done.number + 1, attempt=1, now=now)


def _finish_if_done(job: Job, now: datetime) -> None:
    count = job.spec["rounds"]["count"]
    if buffers.are_used(job):
        trained = job.version >= count
    else:
        trained = Round.objects.filter(
            job=job, kind=Round.Kind.TRAIN, number=count, outcome=Round.Outcome.COMPLETED
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
    slots.cancel_bound(ids, code=code, now=now)
    leaves.release(ids, now=now)
    for round_ in found:
        opening.tell(f"round.{outcome}", round_, now, code=code)
    hints.send("scheduling.plan", queue="scheduling")


def lock_to_finish(round_id: UUID) -> None:
    """Lock what finishing a round will move: of an asynchronous job also the buffers after it."""
    job_id, concurrency = Round.objects.values_list("job_id", "concurrency").get(id=round_id)
    if concurrency is not None:
        lock(job_id)


def locked_aggregating(round_id: UUID) -> Round:
    """Lock a round that is aggregating. Raises RoundOver."""
    round_ = Round.objects.select_for_update(no_key=True).get(id=round_id)
    if round_.status != Round.Status.AGGREGATING:
        raise RoundOver(f"round {round_id} is {round_.status} {round_.outcome}".strip())
    return round_
