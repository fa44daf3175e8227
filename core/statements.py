"""Statements that run many times a second: parsed and planned by Postgres once a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    with connection.wrap_database_errors, psycopg.Cursor(_raw()) as cursor:
        yield cursor


Run = Callable[[str, Sequence[Any]], psycopg.Cursor[Any]]


@contextmanager
def pipelined() -> Iterator[Run]:
    """Open a pipeline: statements, prepared too, go out together, and answers come back together.

    What it yields sends a statement and returns the cursor of its answer; the first fetch waits
    for all that was sent. Each statement sees what those before it did. An error comes out of the
    fetch, or of the pipeline's end.
    """
    raw = _raw()
    with connection.wrap_database_errors, raw.pipeline():
        yield lambda text, values: psycopg.Cursor(raw).execute(text, values)


def _raw() -> Any:
    connection.ensure_connection()
    raw: Any = connection.connection
    raw.prepare_threshold = 0
    return raw
