"""Append events in the transaction of the change they tell; pub/sub is only the hint."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from core import connections, hints
from core.models import Event

CHANNEL = connections.PREFIX + "events"
"""Channel on which pages hear that something changed: ``{tenant, job, kind}``."""


def append(
    kind: str,
    *,
    now: datetime,
    tenant_id: UUID | None = None,
    job_id: UUID | None = None,
    round_id: UUID | None = None,
    assignment_id: UUID | None = None,
    device_id: UUID | None = None,
    **data: Any,
) -> None:
    """Append one event row; ``data`` holds small plain values (numbers, codes, names)."""
    Event.objects.create(
        kind=kind,
        tenant_id=tenant_id,
        job_id=job_id,
        round_id=round_id,
        assignment_id=assignment_id,
        device_id=device_id,
        data=data,
        at=now,
    )
    changed(tenant_id=tenant_id, job_id=job_id, kind=kind)


def of_job(*, job_id: UUID, after: int, until: datetime, limit: int) -> list[Event]:
    """Return a job's events above the number ``after`` that were told by ``until``, in order."""
    rows = Event.objects.filter(job_id=job_id, id__gt=after, at__lte=until)
    return list(rows.order_by("id")[:limit])


def changed(*, tenant_id: UUID | None, job_id: UUID | None, kind: str) -> None:
    """Hint to pages that something they show has changed, without a row."""
    hints.publish(
        CHANNEL,
        {
            "tenant": str(tenant_id) if tenant_id else None,
            "job": str(job_id) if job_id else None,
            "kind": kind,
        },
    )
