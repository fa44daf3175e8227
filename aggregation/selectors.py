"""Reads of model versions and of what rounds measured, for the API and the pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from aggregation import blobs, holds
from aggregation.models import Blob, Leaf, ModelVersion
from aggregation.retention import VersionUnknown
from core.errors import NotFound


class VersionReleased(NotFound):
    """The version's tensors are gone; its metrics stay."""

    code = "version_released"


@dataclass(frozen=True, slots=True)
class RoundMetrics:
    """What one version scored: in training before the step, in evaluation after it."""

    number: int
    at: datetime
    reports: int
    train_loss: float | None
    train_accuracy: float | None
    evaluation_loss: float | None
    evaluation_accuracy: float | None


@dataclass(frozen=True, slots=True)
class Download:
    """A version's file."""

    number: int
    digest: str
    size_bytes: int
    path: Path


def versions(job_id: UUID) -> QuerySet[ModelVersion]:
    """Return a job's versions, newest first; those without tensors have ``released_at``."""
    return ModelVersion.objects.filter(job_id=job_id).order_by("-number")


def state_of(job_id: UUID, number: int) -> tuple[str, int] | None:
    """Return digest and size of what the strategy keeps beside a version; None if nothing."""
    version = ModelVersion.objects.filter(job_id=job_id, number=number).first()
    if version is None or not version.state_digest:
        return None
    claim = Blob.objects.get(tenant_id=version.tenant_id, digest=version.state_digest)
    return claim.digest, claim.size_bytes


def metrics_by_round(job_id: UUID) -> list[RoundMetrics]:
    """Return one line for each version after the first, in order, for charts."""
    rows = ModelVersion.objects.filter(job_id=job_id, number__gt=0).order_by("number")
    return [
        RoundMetrics(
            number=row.number,
            at=row.created_at,
            reports=row.reports,
            train_loss=_number(row.metrics, "loss"),
            train_accuracy=_number(row.metrics, "accuracy"),
            evaluation_loss=_number(row.evaluation, "loss"),
            evaluation_accuracy=_number(row.evaluation, "accuracy"),
        )
        for row in rows
    ]


def download(*, job_id: UUID, number: int | None) -> Download:
    """Find a version's file; ``None`` is the newest. Raises VersionUnknown, VersionReleased."""
    rows = versions(job_id)
    version = (rows if number is None else rows.filter(number=number)).first()
    if version is None:
        which = "versions yet" if number is None else f"version {number}"
        raise VersionUnknown(f"job {job_id} has no {which}")
    if version.released_at is not None:
        kept = rows.filter(released_at=None).values_list("number", flat=True)
        raise VersionReleased(
            f"the tensors of version {version.number} were released by the job's retention;"
            f" kept are {', '.join(str(one) for one in sorted(kept))}"
        )
    return Download(
        number=version.number,
        digest=version.digest,
        size_bytes=version.size_bytes,
        path=blobs.store().path(version.digest),
    )


def _number(measures: Mapping[str, Any], name: str) -> float | None:
    value = measures.get(name)
    return float(value) if isinstance(value, int | float) else None


def silent_leaves(*, now: datetime) -> QuerySet[Leaf]:
    """Return the leaves that should be heard and are not."""
    unheard = Q(heard_at=None) | Q(heard_at__lte=holds.silent_since(now))
    return Leaf.objects.filter(unheard, revoked_at=None).order_by("name")
