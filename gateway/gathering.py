"""Questions that come one by one and are answered many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from gateway.threads import DatabaseAway

Q = TypeVar("Q")
A = TypeVar("A")

SIZE = 200


class Gathering(Generic[Q, A]):
    """Hands ``work`` all that has been asked since it was last handed something."""

    def __init__(self, work: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        self._work = work
        self._asked: list[tuple[Q, asyncio.Future[A]]] = []
        self._working: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """Return the answer. Raises what ``work`` raised."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._asked.append((question, future))
        if self._working is None:
            self._working = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._asked:
                part, self._asked = self._asked[:SIZE], self._asked[SIZE:]
                await self._answer(part)
        finally:
            self._working = None

    async def _answer(self, part: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._work([question for question, _ in part])
        except asyncio.CancelledError:
            for _, future in part:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - handed on to who asked
            # One of many may be at fault: the others must not pay for it.
            if len(part) > 1 and not isinstance(error, DatabaseAway):
                for one in part:
                    await self._answer([one])
                return
            for _, future in part:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(part, answers, strict=True):
            if not future.done():
                future.set_result(answer)
