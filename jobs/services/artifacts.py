"""Programs and parameters that tenants uploaded, as jobs see them; the bytes are aggregation's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from core import hints, origin
from core.errors import NotFound
from jobs.models import Artifact, Job
from tenants import services as tenant_services

UNSTARTED = timedelta(days=1)


class ArtifactUnknown(NotFound):
    """No such program or parameters in this tenant."""

    code = "artifact_unknown"


@transaction.atomic
def register_artifact(
    *,
    tenant_id: UUID,
    kind: str,
    digest: str,
    size_bytes: int,
    status: str,
    tensors: Mapping[str, Any],
    errors: Mapping[str, str],
    now: datetime,
) -> Artifact:
    """Note an upload. The same bytes again give the same row, its check left as it stands."""
    artifact, created = Artifact.objects.get_or_create(
        tenant_id=tenant_id,
        kind=kind,
        digest=digest,
        defaults={
            "size_bytes": size_bytes,
            "status": status,
            "tensors": dict(tensors),
            "errors": dict(errors),
            "created_at": now,
            "checked_at": None if status == Artifact.Status.CHECKING else now,
        },
    )
    if created:
        tenant_services.audit(
            tenant_id=tenant_id, actor=origin.get().actor or tenant_services.OPERATOR,
            action=f"{kind}.upload", target=digest, now=now, size_bytes=size_bytes,
        )  # fmt: skip
    return artifact


def forget_unstarted(*, now: datetime) -> int:
    """Forget parameters that were uploaded for a round which nobody has started in a day."""
    old = Artifact.objects.filter(kind=Artifact.Kind.ROUND, created_at__lt=now - UNSTARTED)
    return old.delete()[0]


@transaction.atomic
def settle_artifact(
    *,
    tenant_id: UUID,
    kind: str,
    digest: str,
    status: str,
    tensors: Mapping[str, Any],
    errors: Mapping[str, str],
    now: datetime,
) -> bool:
    """Record what the check found; False if it was settled before. Jobs that waited are hinted."""
    moved = Artifact.objects.filter(
        tenant_id=tenant_id, kind=kind, digest=digest, status=Artifact.Status.CHECKING
    ).update(status=status, tensors=dict(tensors), errors=dict(errors), checked_at=now)
    waiting = Job.objects.filter(tenant_id=tenant_id, status=Job.Status.SUBMITTED)
    for job_id in waiting.values_list("id", flat=True):
        hints.send("scheduling.admit", str(job_id), queue="scheduling")
    return bool(moved)
