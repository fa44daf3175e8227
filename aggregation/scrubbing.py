"""Re-read all blobs, slowly, and compare them with their names: disks rot what nobody reads."""

from __future__ import annotations

import errno
import hashlib
import logging
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import transaction

from aggregation import blobs
from aggregation.models import Blob
from core import connections, events, knobs

logger = logging.getLogger(__name__)

UNREADABLE = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)
"""What a disk, or the file system above it, says of bytes that it has lost."""
CURSOR = connections.PREFIX + "aggregation:scrubbed"
"""The digest that was read last. Lost, the reading begins anew."""


def scrub(*, now: datetime) -> int:
    """Read ``scrub_bytes`` of blobs after those of the last time; returns how many have rotted.

    They are set aside: who wants one is told, and the same bytes may be uploaded again.
    """
    store = blobs.store()
    digests = sorted(store.digests())
    redis = connections.soft_state()
    cursor: Any = redis.get(CURSOR)
    after = (cursor or b"").decode()
    left, count = knobs.get().scrub_bytes, 0
    for digest in [one for one in digests if one > after]:
        if left <= 0:
            return count
        # First: whatever this one does to us, the next run goes on after it.
        redis.set(CURSOR, digest)
        with suppress(blobs.BlobMissing, FileNotFoundError):  # collected meanwhile
            left -= store.path(digest).stat().st_size
            if not is_sound(digest):
                count += 1
                set_aside(digest, now=now)
    redis.set(CURSOR, "")  # all have been read: from the first one again
    return count


def set_aside(digest: str, *, now: datetime) -> None:
    """Keep a rotten blob out of use, and tell whose it is."""
    if blobs.store().set_aside(digest):
        _tell(digest, now)


def is_sound(digest: str) -> bool:
    """Tell whether a blob is its SHA-256 still, and can be read. Raises BlobMissing, OSError."""
    found = hashlib.sha256()
    try:
        for chunk in blobs.read_chunks(blobs.store().path(digest)):
            found.update(chunk)
    except OSError as error:
        if error.errno in UNREADABLE:
            return False
        raise
    return found.hexdigest() == digest


@transaction.atomic
def _tell(digest: str, now: datetime) -> None:
    logger.error("blob.rotted", extra={"digest": digest})
    for tenant_id in Blob.objects.filter(digest=digest).values_list("tenant_id", flat=True):
        events.append("blob.rotted", now=now, tenant_id=tenant_id, digest=digest)
