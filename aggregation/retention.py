"""Which model versions keep their tensors: the last N, the best, pinned ones, and those in use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from aggregation.models import ModelVersion
from core.errors import NotFound
from jobs.models import Assignment, Job, Round
from tenants import services as tenant_services


class VersionUnknown(NotFound):
    """This job has no such version."""

    code = "version_unknown"


def apply(job: Job, *, now: datetime) -> int:
    """Release the versions that nothing keeps; their rows and metrics stay. Returns how many."""
    held = list(ModelVersion.objects.filter(job=job, released_at=None).order_by("-number"))
    keep = {version.pk for version in held[: job.spec["retention"]["versions"]]}
    best = best_of(held)
    if best is not None:
        keep.add(best.pk)
    unfinished = Round.objects.filter(job=job).exclude(status=Round.Status.FINISHED)
    in_use = set(unfinished.values_list("base_version", flat=True))
    # Of an asynchronous job, what devices began from, too: their changes are taken against it.
    begun = Assignment.objects.filter(
        round__in=unfinished, status__in=("bound", "reported"), base_version__isnull=False
    )
    bases = begun.values_list("base_version", flat=True).distinct()
    in_use |= {number for number in bases if number is not None}
    gone = [
        version.pk
        for version in held
        if version.pk not in keep and not version.pinned and version.number not in in_use
    ]
    return ModelVersion.objects.filter(pk__in=gone, released_at=None, pinned=False).update(
        released_at=now
    )


def best_of(versions: Sequence[ModelVersion]) -> ModelVersion | None:
    """Return the version of highest evaluated accuracy, else of lowest evaluated loss."""
    accurate = [version for version in versions if "accuracy" in version.evaluation]
    if accurate:
        return max(accurate, key=lambda version: (version.evaluation["accuracy"], version.number))
    judged = [version for version in versions if "loss" in version.evaluation]
    return min(judged, key=lambda version: version.evaluation["loss"], default=None)


@transaction.atomic
def pin(*, job_id: UUID, number: int, pinned: bool, actor: str, now: datetime) -> ModelVersion:
    """Keep a version whatever comes after it, or no longer. Raises VersionUnknown."""
    moved = ModelVersion.objects.filter(job_id=job_id, number=number, released_at=None).update(
        pinned=pinned
    )
    if not moved:
        raise VersionUnknown(f"job {job_id} keeps no version {number}")
    version = ModelVersion.objects.get(job_id=job_id, number=number)
    tenant_services.audit(
        tenant_id=version.tenant_id, actor=actor, action="version.pin",
        target=f"{job_id}/{number}", now=now, pinned=pinned,
    )  # fmt: skip
    return version
