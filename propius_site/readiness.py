"""Can this process do its work now? Each server is asked by using it."""

import functools
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from psycopg_pool import PoolTimeout


def report() -> dict[str, Any]:
    """Return `{"status": "ready" | "not_ready", "checks": {name: "ok" or what is wrong}}`."""
    checks = {"redis": _redis()}
    try:
        checks["postgres"] = _postgres()
        checks["migrations"] = (
            _migrations() if checks["postgres"] == "ok" else "unknown: Postgres is away"
        )
    finally:
        connection.close()
    ready = all(value == "ok" for value in checks.values())
    return {"status": "ready" if ready else "not_ready", "checks": checks}


def _postgres() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, psycopg.Error, PoolTimeout) as error:
        return f"no answer: {str(error).splitlines()[0]}"
    return "ok"


@functools.cache
def _client() -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(
        settings.REDIS_URL, socket_connect_timeout=2, socket_timeout=2
    )
    return client


def _redis() -> str:
    try:
        _client().ping()
    except redis.RedisError as error:
        return f"no answer: {error}"
    return "ok"


_migrated = False


def _migrations() -> str:
    global _migrated  # migrations of a running process do not come undone
    if not _migrated:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if pending:
            return f"{len(pending)} not applied: run `manage.py prepare`"
        _migrated = True
    return "ok"
