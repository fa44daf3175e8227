"""Append events in the transaction of the change they tell; pub/sub is only the hint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core import connections, hints, statements
from core.models import Event

CHANNEL = connections.PREFIX + "events"
"""Channel on which pages hear that something changed: ``{tenant, job, kind}``."""
SETTLED = timedelta(seconds=1)
"""Events are numbered before they are committed: one told just now may have a smaller number
than one that is seen already. So readers get the newest only after this long …"""
OVERLAP = timedelta(seconds=30)
"""… and read this far back again, for those whose transaction took longer."""


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


def of_job(
    *, job_id: UUID, after: int, now: datetime, limit: int, kinds: Sequence[str] = ()
) -> list[Event]:
    """Return a job's settled events above the number ``after``, in order.

    Without ``kinds``, all of them.
    """
    rows = Event.objects.filter(job_id=job_id, id__gt=after, at__lte=now - SETTLED)
    if kinds:
        rows = rows.filter(kind__in=kinds)
    return list(rows.order_by("id")[:limit])


def passed_of_job(*, job_id: UUID, now: datetime) -> int:
    """Return the number up to which no more events of a job come; 0 if none is so old."""
    rows = Event.objects.filter(job_id=job_id, at__lt=now - OVERLAP).order_by("-id")
    return rows.values_list("id", flat=True).first() or 0


def newest_of_job(
    *, job_id: UUID, before: int | None, limit: int, kinds: Sequence[str] | None = None
) -> list[Event]:
    """Return a job's newest events, or those below the number ``before``; the newest first.

    Without ``kinds``, all of them.
    """
    rows = Event.objects.filter(job_id=job_id)
    if kinds is not None:
        rows = rows.filter(kind__in=kinds)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return list(rows.order_by("-id")[:limit])


def of_tenant(
    *, tenant_id: UUID, kinds: Sequence[str], after: int, now: datetime, limit: int
) -> list[Event]:
    """Return a tenant's settled events of some kinds above the number ``after``, in order."""
    rows = Event.objects.filter(
        tenant_id=tenant_id, kind__in=kinds, id__gt=after, at__lte=now - SETTLED
    )
    return list(rows.order_by("id")[:limit])


def done_up_to(found: Sequence[Event], *, now: datetime, limit: int) -> int | None:
    """Return the number after which to read next time; None to read all of ``found`` again.

    ``found`` is what was read with ``limit``: a full batch that is young throughout is passed by,
    since the reader would else never come to what follows it.
    """
    old = [one.id for one in found if one.at < now - OVERLAP]
    if not old and len(found) == limit:
        old = [one.id for one in found]
    return max(old, default=None)


def last_of_tenant(tenant_id: UUID) -> int:
    """Return the number of a tenant's newest event; 0 without any."""
    last = Event.objects.filter(tenant_id=tenant_id).order_by("-id").values_list("id", flat=True)
    return last.first() or 0


@dataclass(frozen=True, slots=True)
class New:
    """One of many event rows; fields as :func:`append` takes them."""

    kind: str
    tenant_id: UUID
    job_id: UUID
    round_id: UUID
    assignment_id: UUID
    data: dict[str, Any] = field(default_factory=dict)


def append_many(found: Sequence[New], *, now: datetime) -> None:
    """Append many rows in one statement; a page hears once of each job and kind."""
    if not found:
        return
    with statements.prepared() as cursor:
        cursor.execute(
            """
            INSERT INTO core_event
                (kind, tenant_id, job_id, round_id, assignment_id, data, at)
            SELECT e.kind, e.tenant_id, e.job_id, e.round_id, e.assignment_id, e.data, %s
            FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::jsonb[])
                AS e(kind, tenant_id, job_id, round_id, assignment_id, data)
            """,
            [
                now,
                [one.kind for one in found],
                [one.tenant_id for one in found],
                [one.job_id for one in found],
                [one.round_id for one in found],
                [one.assignment_id for one in found],
                [json.dumps(one.data) for one in found],
            ],
        )
    for tenant_id, job_id, kind in {(one.tenant_id, one.job_id, one.kind) for one in found}:
        changed(tenant_id=tenant_id, job_id=job_id, kind=kind)


def changed(*, tenant_id: UUID | None, job_id: UUID | None, kind: str) -> None:
    """Hint to pages that something they show has changed, without a row."""
    hints.publish_soon(
        CHANNEL,
        {
            "tenant": str(tenant_id) if tenant_id else None,
            "job": str(job_id) if job_id else None,
            "kind": kind,
        },
    )
