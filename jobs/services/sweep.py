"""What time does to rounds: windows and deadlines end, leases run out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet

from core import events, hints
from jobs import states
from jobs.models import Job, Round
from jobs.services import leases, leaves, rounds

logger = logging.getLogger(__name__)


def sweep(*, now: datetime) -> None:
    """Expire leases, then end selection windows and deadlines. Safe to run twice at once."""
    leases.expire(now=now)
    selecting = Round.objects.filter(
        status=Round.Status.SELECTING, selection_ends_at__lte=now, job__status=Job.Status.RUNNING
    )
    _each(selecting, _end_selection, now)
    executing = Round.objects.filter(status=Round.Status.EXECUTING, deadline_at__lte=now)
    _each(executing, _end_execution, now)
    full = Round.objects.filter(status__in=states.OPEN_ROUND, reported__gte=F("demand"))
    _each(full, _end_wait, now)


def _each(
    due: QuerySet[Round], move: Callable[[UUID, UUID, datetime], None], now: datetime
) -> None:
    """Move each round in a transaction of its own; one that cannot be moved holds up no other."""
    for round_id, job_id in list(due.values_list("id", "job_id")):
        try:
            move(round_id, job_id, now)
        except Exception:
            logger.exception("sweep.round", extra={"round": str(round_id), "job": str(job_id)})


@transaction.atomic
def _end_selection(round_id: UUID, job_id: UUID, now: datetime) -> None:
    # All of the job, not only the round: if the round fails, the job may end with it.
    job, held = rounds.lock(job_id)
    round_ = next((one for one in held if one.id == round_id), None)
    if round_ is None or round_.status != Round.Status.SELECTING:
        return
    if round_.selection_ends_at > now or job.status != Job.Status.RUNNING:
        return
    if round_.assigned >= round_.quorum:
        rounds.start_executing(round_, now=now)
        return
    if _may_extend(job, round_):
        _extend(round_, now, selection_ends_at=now + timedelta(seconds=round_.selection_s))
        return
    rounds.fail_round(
        round_id=round_id,
        code="too_few_devices",
        message=(
            f"{round_.assigned} of {round_.demand} devices bound within "
            f"{round_.selection_s * (1 + round_.extensions):g} s; at least {round_.quorum} needed"
        ),
        now=now,
    )


@transaction.atomic
def _end_execution(round_id: UUID, job_id: UUID, now: datetime) -> None:
    job, held = rounds.lock(job_id)
    round_ = next((one for one in held if one.id == round_id), None)
    if round_ is None or round_.status != Round.Status.EXECUTING:
        return
    began_at, deadline_at = round_.executing_at or now, round_.deadline_at or now
    if deadline_at > now or leaves.waits(round_, now=now):
        return
    if round_.reported >= round_.quorum:
        rounds.close(round_, now=now)
        return
    if _may_extend(job, round_):
        _extend(round_, now, deadline_at=now + timedelta(seconds=round_.deadline_s))
        return
    rounds.fail_round(
        round_id=round_id,
        code="too_few_reports",
        message=(
            f"{round_.reported} of {round_.demand} devices reported within "
            f"{(deadline_at - began_at).total_seconds():g} s; at least {round_.quorum} needed"
        ),
        now=now,
    )


@transaction.atomic
def _end_wait(round_id: UUID, job_id: UUID, now: datetime) -> None:
    """Close a round that has enough, once it has waited for its leaves."""
    _, held = rounds.lock(job_id)
    round_ = next((one for one in held if one.id == round_id), None)
    if round_ is not None and round_.status in states.OPEN_ROUND:
        rounds.close(round_, now=now)


def _may_extend(job: Job, round_: Round) -> bool:
    return job.spec["rounds"]["on_shortfall"] == "extend" and round_.extensions == 0


def _extend(round_: Round, now: datetime, **until: datetime) -> None:
    """Give the round its time once more; bound devices stay."""
    Round.objects.filter(id=round_.id).update(extensions=F("extensions") + 1, **until)
    events.append(
        "round.extended", now=now, tenant_id=round_.tenant_id, job_id=round_.job_id,
        round_id=round_.id, number=round_.number,
    )  # fmt: skip
    hints.send("scheduling.plan", queue="scheduling")
