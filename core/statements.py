"""Statements that run many times a second: parsed and planned by Postgres once a connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection


@contextmanager
def prepared() -> Iterator[psycopg.Cursor[Any]]:
    """Open a cursor whose statements stay prepared; for the hot path inside a transaction.

    Django sends each statement as text with its values in it, so Postgres plans it every time:
    half of what a small batch of binds costs there. Errors are Django's, as from its own cursors.
    """
    connection.ensure_connection()
    raw: Any = connection.connection
    raw.prepare_threshold = 0
    with connection.wrap_database_errors, psycopg.Cursor(raw) as cursor:
        yield cursor
