"""The overview's jobs: those in progress with their place and likely end, and those in trouble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import redis.exceptions
from django.db.models import Count, F, Window

from frontend import pace, words
from frontend.selectors import attention
from frontend.selectors.attention import Note
from frontend.selectors.jobs import OPEN, PAGE, TROUBLE, JobLine, lines, states
from jobs.models import Job, Round
from scheduling import published, supply
from scheduling.published import Queue
from scheduling.supply import Online

ATTENTION_DAYS = 7
URGENT = 5
"""Of those that are stuck, and of those that failed, the newest are named."""
STALLED_AFTER = timedelta(minutes=1)
"""A new group's devices are known after some seconds; a shorter wait says nothing."""


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
    active = list(Job.objects.filter(OPEN).order_by("-id"))
    since = now - timedelta(days=ATTENTION_DAYS)
    failed = Job.objects.filter(TROUBLE, finished_at__gt=since)
    counted = failed.annotate(of=Window(Count("id")))
    trouble = list(counted.order_by(F("finished_at").desc())[:URGENT])
    failures = trouble[0].of if trouble else 0
    ended = Job.objects.filter(status=Job.Status.FINISHED).filter(~TROUBLE)
    recent = list(ended.order_by(F("finished_at").desc())[:5])
    selecting = _selecting(active)
    online = _online()
    stalled = _stalled(active, selecting, online, now)
    stuck = [job for job in active if _is_stuck(job, stalled)]
    known = states([*active, *trouble, *recent])
    training = sum(known[job.id].tone == "busy" for job in active)
    shown, urgent = active[:PAGE], [*stuck[:URGENT], *trouble]
    named = {job.id: job for job in (*shown, *urgent, *recent)}
    found = {line.id: line for line in lines(list(named.values()), known=known, spark=True)}
    notes = attention.notes(tenant_id=tenant_id, now=now)
    return Overview(
        headline=words.headline(
            running=training,
            waiting=len(active) - training,
            attention=len(stuck) + failures,
            others=sum(one.needs_you for one in notes),
        ),
        active=_progress(shown, found, _places(shown, selecting, online), now),
        active_more=len(active) - len(shown),
        attention=[found[job.id] for job in urgent],
        stuck_more=len(stuck) - len(stuck[:URGENT]),
        trouble_more=failures - len(trouble),
        notes=notes,
        recent=[found[job.id] for job in recent],
        has_any=bool(found),
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


def _selecting(jobs: Sequence[Job]) -> dict[UUID, Round]:
    """Return the rounds of running jobs that wait for devices, by job."""
    running = [job.id for job in jobs if job.status == Job.Status.RUNNING]
    rows = Round.objects.filter(
        job_id__in=running, status=Round.Status.SELECTING, assigned__lt=F("target")
    )
    return {row.job_id: row for row in rows.order_by("kind", "id")}


def _online() -> Online | None:
    try:
        return supply.online()
    except redis.exceptions.RedisError:
        return None


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


def _is_stuck(job: Job, stalled: set[UUID]) -> bool:
    """Tell whether a job waits for what does not come by itself: admission put it off, or nobody
    who fits is connected."""
    put_off = job.status == Job.Status.SUBMITTED and bool(job.reason.get("code"))
    return put_off or job.id in stalled


def _stalled(
    jobs: Sequence[Job], selecting: Mapping[UUID, Round], online: Online | None, now: datetime
) -> set[UUID]:
    """Return the running jobs that select for a while with nobody connected who fits."""
    if online is None:
        return set()
    there = supply.by_group(online.idle) + supply.by_group(online.busy)
    return {
        job.id
        for job in jobs
        if (row := selecting.get(job.id)) is not None
        and row.opened_at < now - STALLED_AFTER
        and not there[job.constraint_group]
    }
