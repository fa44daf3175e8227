"""Find every row that waits for a worker and hint at it: what keeps a lost hint from mattering."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from aggregation import claims, ownership
from aggregation.models import Batch, Closing, ModelVersion
from core import connections, hints
from jobs.models import Artifact, Job, Round

CHECK_AGE = timedelta(seconds=3)
CHECK_EVERY_MS = 10_000


def sweep(*, now: datetime) -> None:
    """Hint at rounds to fold or close and programs to check; give new jobs their version 0."""
    for round_id in rounds_waiting(now=now):
        hints.send("aggregation.fold", str(round_id), queue="aggregation")
    for tenant_id, digest in _programs_waiting(now):
        hints.send("aggregation.check_program", str(tenant_id), digest, queue="batch")
    _first_versions(now)


def ready(*, now: datetime) -> QuerySet[Batch]:
    """Return the batches that a worker can fold now.

    One is ready when its last sequence number has been given, or its round is closed: updates
    are inserted under the round's lock together with their number, so all are there then.
    Of an asynchronous job, buffers are folded one after the other: only then it is known how many
    versions each update is behind.
    """
    full = Q(
        round__status__in=("selecting", "executing"),
        round__reported__gte=F("last") - F("round__set_aside"),
    )
    closed = Q(round__status=Round.Status.AGGREGATING)
    before = Round.objects.filter(
        job=OuterRef("round__job"), kind=Round.Kind.TRAIN, number__lt=OuterRef("round__number")
    ).exclude(status=Round.Status.FINISHED)
    first = Q(round__concurrency=None) | ~Exists(before)
    rows = claims.waiting(Batch.objects, now=now)
    return rows.filter(full | closed, first).order_by("round_id", "number")


def rounds_waiting(*, now: datetime) -> list[UUID]:
    """Return the rounds with a batch to fold, and those folded and not being closed."""
    unfolded = Batch.objects.filter(round=OuterRef("pk"), done_at=None)
    claimed = Closing.objects.filter(round=OuterRef("pk"), claimed_until__gt=now)
    folded = Round.objects.filter(
        ~Exists(unfolded), ~Exists(claimed), status=Round.Status.AGGREGATING
    )
    found = set(ready(now=now).values_list("round_id", flat=True))
    return sorted(found | set(folded.values_list("id", flat=True)))


def ensure_first(job: Job, *, now: datetime) -> ModelVersion:
    """Return version 0 of a job: the parameters that it was submitted with."""
    rows = ModelVersion.objects.filter(job=job, number=0)
    version = rows.first()
    if version is None:
        new = ModelVersion(
            job=job,
            number=0,
            tenant_id=job.tenant_id,
            digest=job.spec["parameters"],
            size_bytes=_first_size(job),
            created_at=job.started_at or now,
        )
        # ON CONFLICT: the sweep and a close often come here at the same moment.
        ModelVersion.objects.bulk_create([new], ignore_conflicts=True)
        version = rows.get()
    return version


def _first_size(job: Job) -> int:
    # The job's own columns say it until the first round has moved them on.
    if job.parameters_digest == job.spec["parameters"]:
        return job.parameters_size
    return ownership.size_of(tenant_id=job.tenant_id, digest=job.spec["parameters"])


def _programs_waiting(now: datetime) -> Iterator[tuple[UUID, str]]:
    """The programs whose hint seems lost; each at most every ten seconds: a check takes long."""
    rows = Artifact.objects.filter(
        kind=Artifact.Kind.PROGRAM,
        status=Artifact.Status.CHECKING,
        created_at__lt=now - CHECK_AGE,
    )
    for tenant_id, digest in rows.values_list("tenant_id", "digest"):
        key = f"{connections.PREFIX}aggregation:check:{tenant_id}:{digest}"
        if connections.soft_state().set(key, b"1", nx=True, px=CHECK_EVERY_MS):
            yield tenant_id, digest


def _first_versions(now: datetime) -> None:
    has_one = ModelVersion.objects.filter(job=OuterRef("pk"), number=0)
    for job in Job.objects.filter(~Exists(has_one), status=Job.Status.RUNNING):
        ensure_first(job, now=now)
