"""Asynchronous jobs: a round is a buffer of updates, and the next one opens as it closes.

Devices that are at work when a buffer closes go over to the next one and deliver into it, with the
version that they began from. Buffers are folded one after the other, so that what an update is
behind by is known when it is folded.

References
----------
Nguyen et al., *Federated Learning with Buffered Asynchronous Aggregation*, AISTATS 2022
(arXiv 2106.06639).
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db.models import F, Max, QuerySet

from core import hints
from core.errors import Conflict
from jobs import states
from jobs.models import Assignment, Job, Round
from jobs.services import opening, slots


class TooStale(Conflict):
    """The device began from a version that too many have followed since."""

    code = "too_stale"


def are_used(job: Job) -> bool:
    """Tell whether a job is asynchronous."""
    return "buffer_size" in job.spec["strategy"]


def follow(round_: Round, *, now: datetime) -> None:
    """Open the next buffer as ``round_`` closes, and hand it the devices that are at work.

    The caller's transaction holds the round. Without a next one, nobody is handed over.
    """
    job = Job.objects.select_for_update(no_key=True).get(id=round_.job_id)
    opened = open_next(job, now=now)
    if opened is None:
        return
    bound = Assignment.objects.filter(round_id=round_.id, status=Assignment.Status.BOUND)
    ids = list(bound.order_by("id").select_for_update(no_key=True).values_list("id", flat=True))
    fresh = Assignment.objects.filter(id__in=ids, base_version__gte=_oldest(job, opened))
    moved = fresh.update(round=opened)
    Round.objects.filter(id=round_.id).update(assigned=F("assigned") - moved)
    # Fewer may have been granted since: who is at work stays, and takes a slot.
    Round.objects.filter(id=opened.id).update(assigned=moved, target=max(opened.target, moved))
    slots.cancel_bound([round_.id], code=TooStale.code, now=now)


def open_next(job: Job, *, now: datetime) -> Round | None:
    """Open a buffer if steps are still to be made for which none is open or being folded."""
    if job.status == Job.Status.FINISHED:
        return None
    under_way = list(_train(job.id).exclude(status=Round.Status.FINISHED))
    if any(one.status in states.OPEN_ROUND for one in under_way):
        return None
    if job.version + len(under_way) >= job.spec["rounds"]["count"]:
        return None
    last: int = _train(job.id).aggregate(last=Max("number"))["last"] or 0
    return opening.open_round(job, kind=Round.Kind.TRAIN, number=last + 1, attempt=1, now=now)


def reopen_slot(round_: Round) -> None:
    """Let another device take the place of one that has reported."""
    Round.objects.filter(id=round_.id).update(target=F("target") + 1)
    hints.send("scheduling.plan", queue="scheduling")


def check_fresh(held: Assignment, round_: Round) -> None:
    """Raise TooStale if the device began from too old a version for the step of ``round_``."""
    job = Job.objects.get(id=round_.job_id)
    oldest = _oldest(job, round_)
    if held.base_version is not None and held.base_version < oldest:
        raise TooStale(
            f"the update began from version {held.base_version}; this step takes those from "
            f"{oldest} on: at most {job.spec['strategy']['max_staleness']} behind"
        )


def advance(job: Job) -> None:
    """Let the buffers that wait begin from the job's newest version, and fold them."""
    later = _train(job.id).exclude(status=Round.Status.FINISHED)
    later.update(
        base_version=job.version,
        base_digest=job.parameters_digest,
        base_size=job.parameters_size,
    )
    for round_id in later.filter(reported__gt=0).values_list("id", flat=True):
        hints.send("aggregation.fold", str(round_id), queue="aggregation")


def failed_in_a_row(job: Job) -> int:
    """Count the buffers that were lost since the last step."""
    done = _train(job.id).filter(outcome=Round.Outcome.COMPLETED).aggregate(last=Max("number"))
    lost = _train(job.id).filter(outcome=Round.Outcome.FAILED, number__gt=done["last"] or 0)
    return lost.count()


def _oldest(job: Job, round_: Round) -> int:
    """Return the oldest version that an update in this buffer may have begun from.

    Every buffer that is being folded before it makes a version first, unless it is lost.
    """
    before = _train(job.id).filter(status=Round.Status.AGGREGATING, number__lt=round_.number)
    newest = job.version + before.count()
    return int(newest - job.spec["strategy"]["max_staleness"])


def _train(job_id: UUID) -> QuerySet[Round]:
    return Round.objects.filter(job_id=job_id, kind=Round.Kind.TRAIN)
