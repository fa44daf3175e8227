"""Which tenant's rows name which blob, and when nothing names one any more."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from aggregation.models import Blob


def claim(*, tenant_id: UUID, digest: str, size_bytes: int, now: datetime) -> None:
    """Note in the caller's transaction that a row of this tenant names ``digest``.

    A mark for collection is taken off. The row's lock is held until the caller commits, so that
    a collection that runs now waits and then sees the new row.
    """
    Blob.objects.bulk_create(
        [Blob(tenant_id=tenant_id, digest=digest, size_bytes=size_bytes, created_at=now)],
        update_conflicts=True,
        unique_fields=["tenant", "digest"],
        update_fields=["marked_at"],
    )
