"""Locks between processes that no row stands for, held by the database session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

COLLECTION = 0x70726F70
"""Held shared by a backup, alone by what deletes blobs: what is copied must not go meanwhile."""


@contextmanager
def shared(key: int) -> Iterator[None]:
    """Hold the lock together with others; waits for one who holds it alone."""
    _ask("SELECT pg_advisory_lock_shared(%s)", key)
    try:
        yield
    finally:
        _ask("SELECT pg_advisory_unlock_shared(%s)", key)


@contextmanager
def alone_or_not(key: int) -> Iterator[bool]:
    """Try to hold the lock alone; yields whether it is held."""
    held = _ask("SELECT pg_try_advisory_lock(%s)", key)
    try:
        yield held
    finally:
        if held:
            _ask("SELECT pg_advisory_unlock(%s)", key)


def _ask(statement: str, key: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(statement, [key])
        row = cursor.fetchone()
    return bool(row and row[0])
