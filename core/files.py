"""Files that a thread opens for the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol, TypeVar


class Closes(Protocol):
    """What is open until it is closed."""

    def close(self) -> None:
        """Let go of it."""


F = TypeVar("F", bound=Closes)


async def opened(opening: Awaitable[F]) -> F:
    """Return what a thread opens; what nobody waits for any more is closed once it is open."""
    future: asyncio.Future[F] = asyncio.ensure_future(opening)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(_close_unused)
        raise


def _close_unused(future: asyncio.Future[F]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()
