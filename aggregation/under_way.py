"""How far each transfer is, for pages: told by the process that moves its bytes.

Soft state in Redis, one key an assignment, written for all of a process in one round trip at most
twice a second, however many chunks have passed; what takes less than that is never told. A leaf
tells the root with its heartbeat, as often. What a process that dies leaves behind ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import redis.asyncio
import redis.exceptions
from msgspec import Meta

from core import connections

logger = logging.getLogger(__name__)

TELL_S = 0.5
RATE_LOOKS = 8
"""A rate is that of the last so many times told: chunks come in bursts."""
KEPT_S = 5
KEY = connections.PREFIX + "transfer:"
Direction = Literal["down", "up"]


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What is under way for one assignment, seen from the device."""

    direction: Direction
    done_bytes: Annotated[int, Meta(ge=0)]
    size_bytes: Annotated[int, Meta(ge=0)]
    bytes_per_s: Annotated[float, Meta(ge=0)]


class Moving:
    """One transfer; whoever moves its bytes says how far it has come."""

    def __init__(self, direction: Direction, done_bytes: int, size_bytes: int, now: float) -> None:
        self.direction = direction
        self.done_bytes = done_bytes
        self.size_bytes = size_bytes
        self._looks = deque([(now, done_bytes)], maxlen=RATE_LOOKS + 1)

    def reached(self, done_bytes: int) -> None:
        """Note how many bytes have passed, those of earlier connections included."""
        self.done_bytes = done_bytes

    def rate(self, now: float) -> float:
        """Look again; return bytes a second since the oldest look that is kept."""
        self._looks.append((now, self.done_bytes))
        then, had = self._looks[0]
        return (self.done_bytes - had) / (now - then) if now > then else 0.0


class Transfers:
    """Those of one process. Without ``connect`` it only takes them down, as on a leaf."""

    def __init__(
        self,
        connect: Callable[[], redis.asyncio.Redis] | None = connections.soft_state_async,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._moving: dict[str, list[Moving]] = {}
        self._told: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def begin(
        self, assignment: str, direction: Direction, *, done_bytes: int, size_bytes: int
    ) -> Iterator[Moving]:
        """Tell of a transfer for as long as the block lasts."""
        one = Moving(direction, done_bytes, size_bytes, self._clock())
        self._moving.setdefault(assignment, []).append(one)
        if self._connect is not None and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(self._connect))
        try:
            yield one
        finally:
            others = self._moving[assignment]
            others.remove(one)
            if not others:
                del self._moving[assignment]

    @property
    def has_news(self) -> bool:
        """Whether there is anything to tell: what moves, or that it has ended."""
        return bool(self._moving or self._told)

    def take(self) -> tuple[Mapping[str, Told], set[str]]:
        """Return what to tell now by assignment, and whose transfers have ended since."""
        now = self._clock()
        found = {name: _sum(several, now) for name, several in self._moving.items()}
        ended, self._told = self._told - found.keys(), set(found)
        return found, ended

    async def _run(self, connect: Callable[[], redis.asyncio.Redis]) -> None:
        """Tell for as long as anything moves."""
        client = connect()
        try:
            while self.has_news:
                await asyncio.sleep(TELL_S)
                found, ended = self.take()
                try:
                    async with client.pipeline(transaction=False) as pipe:
                        _put(pipe, found, ended)
                        await pipe.execute()
                except (redis.exceptions.RedisError, OSError) as error:
                    logger.info("transfers.untold", extra={"reason": str(error)})
        finally:
            if self._task is asyncio.current_task():
                self._task = None  # what begins while the client closes needs a task of its own
            await client.aclose()


def _sum(several: Sequence[Moving], now: float) -> Told:
    """Return one figure for all that moves the same way as what began last."""
    direction = several[-1].direction
    alike = [one for one in several if one.direction == direction]
    return Told(
        direction,
        sum(one.done_bytes for one in alike),
        sum(one.size_bytes for one in alike),
        sum(one.rate(now) for one in alike),
    )


def tell(found: Mapping[str, Told], ended: Collection[str]) -> None:
    """Tell of transfers that another machine moves; without Redis nobody hears of them."""
    try:
        with connections.soft_state().pipeline(transaction=False) as pipe:
            _put(pipe, found, ended)
            pipe.execute()
    except redis.exceptions.RedisError as error:
        logger.info("transfers.untold", extra={"reason": str(error)})


def _put(pipe: Any, found: Mapping[str, Told], ended: Collection[str]) -> None:
    for assignment, told in found.items():
        pipe.set(KEY + assignment, msgspec.json.encode(told), ex=KEPT_S)
    if ended:
        pipe.delete(*(KEY + one for one in ended))


def of(assignment_ids: Sequence[UUID]) -> dict[UUID, Told]:
    """Return what is under way for these assignments. Raises RedisError."""
    if not assignment_ids:
        return {}
    client = connections.soft_state()
    texts: Any = client.mget([f"{KEY}{one}" for one in assignment_ids])
    return {
        one: msgspec.json.decode(text, type=Told)
        for one, text in zip(assignment_ids, texts, strict=True)
        if text is not None
    }
