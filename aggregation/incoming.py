"""Updates that have begun to come: files beside the store, of assignments that wait for them."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from uuid import UUID

from aggregation import blobs
from jobs.models import Assignment

SUFFIX = ".update"


def path(store: blobs.BlobStore, assignment_id: UUID, digest: str) -> Path:
    """Return where the bytes of an update are until they are whole and checked."""
    return store.incoming / f"{assignment_id}-{digest[:16]}{SUFFIX}"


def size(*, assignment_id: UUID, digest: str) -> int:
    """Return how many bytes of an update have come and wait for the rest; 0 for none."""
    try:
        return path(blobs.store(), assignment_id, digest).stat().st_size
    except FileNotFoundError:
        return 0


def clear(*, idle_s: float) -> int:
    """Remove what was begun for assignments that have ended; returns how many files.

    ``idle_s`` leaves alone what an open sink may just be finishing.
    """
    begun: dict[UUID, list[Path]] = {}
    for file in blobs.store().incoming.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError, ValueError):
            if time.time() - file.stat().st_mtime > idle_s:
                begun.setdefault(UUID(file.name[:36]), []).append(file)
    rows = Assignment.objects.filter(id__in=list(begun), status=Assignment.Status.BOUND)
    dead = begun.keys() - set(rows.values_list("id", flat=True))
    files = [file for assignment in dead for file in begun[assignment]]
    for file in files:
        file.unlink(missing_ok=True)
    return len(files)
