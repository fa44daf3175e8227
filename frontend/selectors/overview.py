"""The overview's jobs: those in progress with their place and likely end, and those in trouble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import redis.exceptions
from django.db.models import F

from frontend import pace, words
from frontend.selectors.jobs import PAGE, JobLine, lines, states
from jobs.models import Job, Round
from jobs.selectors import TROUBLE
from scheduling import attention, published, troubles
from scheduling.attention import Note
from scheduling.published import Queue
from scheduling.supply import Online


@dataclass(frozen=True, slots=True)
class Progress:
    """A job in progress: its place among those that wait for devices, and when it likely ends."""

    line: JobLine
    place: str
    ends_at: datetime | None
    ends: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What is going on, and whether anything needs somebody.

    ``…_more`` are counted, but only lists of jobs name them.
    """

    headline: str
    active: list[Progress]
    active_more: int
    attention: list[JobLine]
    stuck_more: int
    trouble_more: int
    notes: list[Note]
    recent: list[JobLine]
    has_any: bool


def overview(*, tenant_id: UUID, now: datetime) -> Overview:
    """Return this tenant's jobs as the overview shows them, and what else needs a look."""
    found = troubles.find(now=now)
    ended = Job.objects.filter(status=Job.Status.FINISHED).filter(~TROUBLE)
    recent = list(ended.order_by(F("finished_at").desc())[:5])
    known = states([*found.active, *found.failed, *recent])
    training = sum(known[job.id].tone == "busy" for job in found.active)
    shown = found.active[:PAGE]
    named = {job.id: job for job in (*shown, *found.named, *recent)}
    told = {line.id: line for line in lines(list(named.values()), known=known, spark=True)}
    notes = [*attention.of_fleet(tenant_id=tenant_id, now=now), *attention.of_access(now=now)]
    return Overview(
        headline=words.headline(
            running=training,
            waiting=len(found.active) - training,
            attention=len(found.stuck) + found.failures,
            others=sum(one.needs_you for one in notes),
        ),
        active=_progress(shown, told, _places(shown, found.selecting, found.online), now),
        active_more=len(found.active) - len(shown),
        attention=[told[job.id] for job in found.named],
        stuck_more=found.stuck_more,
        trouble_more=found.failed_more,
        notes=notes,
        recent=[told[job.id] for job in recent],
        has_any=bool(told),
    )


def _progress(
    active: Sequence[Job],
    found: Mapping[UUID, JobLine],
    places: Mapping[UUID, str],
    now: datetime,
) -> list[Progress]:
    finished = _finished([job.id for job in active])
    shown = []
    for job in active:
        line = found[job.id]
        ends = pace.estimate(
            finished.get(job.id, []),
            left=line.total - line.done,
            is_running=job.status == Job.Status.RUNNING and not job.is_driven,
            now=now,
        )
        shown.append(Progress(line, places.get(job.id, ""), ends.at, ends.text))
    return shown


def _finished(job_ids: Sequence[UUID]) -> dict[UUID, list[datetime]]:
    """Return when the last rounds of each job ended, oldest first."""
    rows = Round.objects.filter(
        job_id__in=job_ids,
        kind=Round.Kind.TRAIN,
        outcome=Round.Outcome.COMPLETED,
        number__gt=F("job__version") - pace.ROUNDS,
    )
    found: dict[UUID, list[datetime]] = {}
    for job_id, at in rows.order_by("job_id", "number").values_list("job_id", "finished_at"):
        if at is not None:
            found.setdefault(job_id, []).append(at)
    return found


def _places(
    jobs: Sequence[Job], selecting: Mapping[UUID, Round], online: Online | None
) -> dict[UUID, str]:
    """Say where jobs stand that wait for devices; nothing while Redis, which knows it, is away."""
    waiting = {selecting[job.id].id: job for job in jobs if job.id in selecting}
    if online is None:
        return {}
    groups = {round_id: job.constraint_group for round_id, job in waiting.items()}
    connected = {
        name: online.idle.get(name, 0) + online.busy.get(name, 0)
        for name in {*online.idle, *online.busy}
    }
    try:
        queues = published.ahead_of_each(groups, connected)
    except redis.exceptions.RedisError:
        return {}
    return {waiting[round_id].id: _place(queue) for round_id, queue in queues.items()}


def _place(queue: Queue) -> str:
    if queue.shuffled:
        return "Served by lot"
    if not queue.ahead:
        return "Next in line for devices"
    ahead, slots = len(queue.ahead), sum(queue.ahead.values())
    return (
        f"In line for devices behind {words.count(ahead, 'round')} with "
        f"{words.count(slots, 'open slot')}"
    )
