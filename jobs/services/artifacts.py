"""Programs and parameters that tenants uploaded, as jobs see them; the bytes are aggregation's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from core import hints, origin
from core.errors import NotFound
from jobs.models import Artifact, Job, Round
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
    """Note an upload. The same bytes again give the same row, its check left as it stands.

    Those for a round are kept from the last upload on.
    """
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
    elif kind == Artifact.Kind.ROUND:
        artifact.created_at = now
        Artifact.objects.filter(id=artifact.id).update(created_at=now)
    return artifact


def forget_unstarted(*, now: datetime) -> int:
    """Forget parameters that were uploaded for a round: after a day, or once nobody waits for them.

    Driven jobs of one tenant may upload the same: it is kept for those that have not started a
    round from it since. A round that has started keeps its bytes by itself.
    """
    started = Round.objects.filter(
        job_id=OuterRef("id"),
        base_digest=OuterRef(OuterRef("digest")),
        opened_at__gte=OuterRef(OuterRef("created_at")),
    )
    waiting = Job.objects.filter(tenant_id=OuterRef("tenant_id"), spec__driven=True)
    waiting = waiting.exclude(status=Job.Status.FINISHED).filter(~Exists(started))
    forgotten = Q(created_at__lt=now - UNSTARTED) | ~Q(Exists(waiting))
    return Artifact.objects.filter(forgotten, kind=Artifact.Kind.ROUND).delete()[0]


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
