"""Which tenant's rows name which blob, and when nothing names one any more."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

import jobs.services
from aggregation import blobs, incoming
from aggregation.models import Blob, ModelVersion, Partial, RoundSum, Update
from core import advisory, knobs
from jobs.models import Artifact, Job, Round

logger = logging.getLogger(__name__)

INCOMING_S = 86_400.0
UPLOAD_IDLE_S = 300.0


def claim(*, tenant_id: UUID, digest: str, size_bytes: int, now: datetime) -> None:
    """Note in the caller's transaction that a row of this tenant names ``digest``.

    A mark for collection is taken off. The row's lock is held until the caller commits, so that
    a collection that runs now waits and then sees the new row.
    """
    claim_many([(tenant_id, digest, size_bytes)], now=now)


def claim_many(named: Iterable[tuple[UUID, str, int]], *, now: datetime) -> None:
    """Note blobs given by tenant, digest and size, as :func:`claim` does."""
    # Sorted: every transaction locks blobs in one order. A set: devices may agree to the bit.
    Blob.objects.bulk_create(
        [
            Blob(tenant_id=tenant_id, digest=digest, size_bytes=size_bytes, created_at=now)
            for tenant_id, digest, size_bytes in sorted(set(named))
        ],
        update_conflicts=True,
        unique_fields=["tenant", "digest"],
        update_fields=["marked_at"],
    )


def size_of(*, tenant_id: UUID, digest: str) -> int:
    """Return the size of a tenant's blob. Raises BlobMissing."""
    size = Blob.objects.filter(tenant_id=tenant_id, digest=digest)
    found = size.values_list("size_bytes", flat=True).first()
    if found is None:
        raise blobs.BlobMissing(f"this tenant has no blob {digest}")
    return found


def collect(*, now: datetime) -> int:
    """Mark blobs that no row names, delete those marked a grace ago; returns how many went.

    Does nothing while a backup copies blobs.
    """
    with advisory.alone_or_not(advisory.COLLECTION) as held:
        return _collect(now) if held else 0


def _collect(now: datetime) -> int:
    jobs.services.forget_unstarted(now=now)
    _mark(now)
    grace_s = knobs.get().blob_grace_s
    due = Blob.objects.filter(marked_at__lte=now - timedelta(seconds=grace_s))
    count = sum(_delete(blob_id, now, grace_s) for blob_id in due.values_list("pk", flat=True))
    store = blobs.store()
    store.clear_incoming(older_s=INCOMING_S)
    incoming.clear(idle_s=UPLOAD_IDLE_S)
    _delete_orphans(store, grace_s)
    if count:
        logger.info("blobs.collected", extra={"count": count})
    return count


def _named() -> Q:
    """The condition that some row names a blob. What is named is never deleted.

    Updates and partials count until their round has ended: then they are in a version, or lost
    with the attempt.
    """
    mine = {"tenant_id": OuterRef("tenant_id")}
    digest = OuterRef("digest")
    versions = ModelVersion.objects.filter(released_at=None, **mine)
    unfinished = ~Q(round__status=Round.Status.FINISHED)
    rounds = Round.objects.exclude(status=Round.Status.FINISHED)
    rows: list[QuerySet[Any]] = [
        versions.filter(digest=digest),
        versions.filter(state_digest=digest),
        RoundSum.objects.filter(released_at=None, digest=digest, **mine),
        Update.objects.filter(unfinished, digest=digest, **mine),
        Partial.objects.filter(unfinished, digest=digest, **mine),
        Artifact.objects.filter(digest=digest, **mine),
        rounds.filter(base_digest=digest, **mine),
        Job.objects.exclude(status=Job.Status.FINISHED).filter(parameters_digest=digest, **mine),
    ]
    condition = Q()
    for one in rows:
        condition |= Q(Exists(one))
    return condition


def _mark(now: datetime) -> None:
    Blob.objects.filter(_named(), marked_at__isnull=False).update(marked_at=None)
    Blob.objects.filter(~_named(), marked_at=None).update(marked_at=now)


@transaction.atomic
def _delete(blob_id: int, now: datetime, grace_s: float) -> bool:
    """Delete one claim, and the file with the last of them, under the row's lock."""
    rows = Blob.objects.select_for_update().filter(
        pk=blob_id, marked_at__lte=now - timedelta(seconds=grace_s)
    )
    blob = rows.first()
    # Looked at again with the lock in hand: claim() may have waited for us, or we for it.
    if blob is None or not Blob.objects.filter(~_named(), pk=blob_id).exists():
        return False
    blob.delete()
    if not Blob.objects.filter(digest=blob.digest).exists():
        blobs.store().delete(blob.digest, grace_s=grace_s)
    return True


def _delete_orphans(store: blobs.BlobStore, grace_s: float) -> None:
    """Delete files whose transaction never committed."""
    for digest in store.digests():
        if not Blob.objects.filter(digest=digest).exists():
            store.delete(digest, grace_s=grace_s)
