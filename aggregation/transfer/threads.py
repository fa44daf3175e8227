"""What blocks, in two bounded pools, so that slow disks do not hold up rows nor the reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import psycopg
from django.db import InterfaceError, OperationalError, connection
from psycopg_pool import PoolTimeout

from core.errors import Unavailable
from tenants import scopes

T = TypeVar("T")
AWAY = (OperationalError, InterfaceError, psycopg.OperationalError, PoolTimeout)


class DatabaseAway(Unavailable):
    """Postgres does not answer."""


class Threads:
    """Pools of one process; a thread is begun when there is work for it."""

    def __init__(self) -> None:
        self._files = ThreadPoolExecutor(4, "data-files")
        self._rows = ThreadPoolExecutor(3, "data-rows")

    async def files(self, work: Callable[[], T]) -> T:
        """Run ``work`` on files."""
        return await asyncio.get_running_loop().run_in_executor(self._files, work)

    async def rows(self, work: Callable[[], T]) -> T:
        """Run ``work`` in one transaction, as the gateway's role does. Raises DatabaseAway."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._rows, partial(_in_scope, work))

    def stop(self) -> None:
        """End the pools; what runs is finished."""
        for pool in (self._files, self._rows):
            pool.shutdown(wait=True, cancel_futures=True)


def _in_scope(work: Callable[[], T]) -> T:
    try:
        # The ticket says which assignment, not whose: its tenant is known from the row.
        with scopes.system_scope():
            return work()
    except AWAY as error:
        raise DatabaseAway(
            "the platform's database is away; what has come is kept: send the rest in a moment"
        ) from error
    finally:
        connection.close()
