"""The gateway's threads: everything that blocks runs in one of three bounded pools."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import psycopg
from django.db import InterfaceError, OperationalError, connection
from psycopg_pool import PoolTimeout

T = TypeVar("T")
logger = logging.getLogger(__name__)

PATIENCE_S = 30.0
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 2.0
AWAY = (OperationalError, InterfaceError, psycopg.OperationalError, PoolTimeout)


BROKEN = ("internal_error", "the gateway met a fault of its own; connect again")
"""What a device hears when its task ended with an error that nobody foresaw."""


class DatabaseAway(Exception):
    """Postgres has not answered for as long as the caller would wait."""


class Threads:
    """Pools by kind of work, so that no kind starves another.

    Together they hold fewer database connections than the process's pool has.
    """

    def __init__(self) -> None:
        self._commits = ThreadPoolExecutor(1, "commit")
        self._rows = ThreadPoolExecutor(5, "rows")
        self._files = ThreadPoolExecutor(4, "files")
        self._is_away = False

    async def commit(self, work: Callable[[], T], *, patience_s: float = PATIENCE_S) -> T:
        """Run ``work`` on the one thread that commits binds. Raises DatabaseAway."""
        return await self._patiently(
            self._commits, partial(_with_kept_connection, work), patience_s
        )

    async def rows(self, work: Callable[[], T], *, patience_s: float = PATIENCE_S) -> T:
        """Run ``work``, which must be idempotent, against the database. Raises DatabaseAway."""
        return await self._patiently(self._rows, partial(_with_connection, work), patience_s)

    async def files(self, work: Callable[[], T]) -> T:
        """Run ``work`` on files."""
        return await asyncio.get_running_loop().run_in_executor(self._files, work)

    def stop(self) -> None:
        """End the pools; what runs is finished."""
        self._commits.submit(_close).result()
        for pool in (self._commits, self._rows, self._files):
            pool.shutdown(wait=True, cancel_futures=True)

    async def _patiently(
        self, pool: ThreadPoolExecutor, work: Callable[[], T], patience_s: float
    ) -> T:
        loop = asyncio.get_running_loop()
        until, wait_s = loop.time() + patience_s, FIRST_WAIT_S
        while True:
            try:
                result = await loop.run_in_executor(pool, work)
            except AWAY as error:
                self._note_away(error)
                if loop.time() + wait_s > until:
                    raise DatabaseAway(str(error)) from error
                await asyncio.sleep(wait_s)
                wait_s = min(LONGEST_WAIT_S, wait_s * 2)
            else:
                if self._is_away:
                    self._is_away = False
                    logger.info("gateway.database_back")
                return result

    def _note_away(self, error: Exception) -> None:
        # Once: every device asks meanwhile, and the log is for what changes.
        if not self._is_away:
            self._is_away = True
            logger.warning("gateway.database_away", extra={"reason": str(error)})


def _with_connection(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        # Back to the pool, which drops it if its server died: no thread keeps a dead one.
        connection.close()


def _with_kept_connection(work: Callable[[], T]) -> T:
    """Keep the connection of a thread that commits all the time, until it fails once."""
    try:
        return work()
    except BaseException:
        _close()
        raise


def _close() -> None:
    connection.close()
