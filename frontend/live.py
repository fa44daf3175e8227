"""The relay of live pages: one per event loop. It renders what changed once and pushes it to all.

It hears of changes by pub/sub and, since a hint may be lost and progress has none, looks at what
is on somebody's screen from time to time. A section is sent only if its HTML is another one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import weakref
from collections.abc import Awaitable
from typing import Any, Protocol
from uuid import UUID

import redis.exceptions
from channels.db import database_sync_to_async
from django.utils import timezone

from core import connections, events
from core.errors import NotFound
from frontend import fragments
from frontend.fragments import Topic

logger = logging.getLogger(__name__)

COLLECT_S = 0.5
"""Changes within this time are one update, so that a page gets at most two a second."""
SLICE_S = 0.5
"""Devices come and go all the time: pages get their counts in slices of this length, so that a
change of state waits for one slice at most, and counting never fills a processor."""
STEADY = "assignment."
SWEEP_S = 2.0
SWEEP_SHARE = 4
"""After slices that took t in all a sweep waits at least this often t."""
LISTEN_S = 1.0
PUSH_S, PUSH_WAIT_S = 10.0, 0.25
"""A browser that takes nothing for so long is dropped; others wait for it so long, once."""
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class Subscriber(Protocol):
    """A page somewhere that wants the sections of its topic."""

    async def push(self, html: str) -> None:
        """Send sections to the browser."""

    async def end(self) -> None:
        """The topic is gone."""

    def drop(self) -> None:
        """End at once, without a word: the browser takes none."""


class Relay:
    """Who looks at what, and what they saw last."""

    def __init__(self) -> None:
        self.subscribers: dict[Topic, set[Subscriber]] = {}
        self.shown: dict[Topic, dict[str, str]] = {}
        self.opening: dict[Topic, asyncio.Task[dict[str, str]]] = {}
        self.dirty: set[Topic] = set()
        self.steady: dict[Topic, None] = {}  # in the order in which they are looked at
        self.tasks: list[asyncio.Task[None]] = []
        self.pushing: dict[Subscriber, asyncio.Task[None]] = {}
        self.behind: set[Subscriber] = set()

    async def join(self, topic: Topic, subscriber: Subscriber) -> None:
        """Push the topic as it is now, and from then on whatever changes. Raises NotFound.

        The caller leaves, also when this raises.
        """
        sections = await self._present(topic)
        self.shown.setdefault(topic, sections)
        self.subscribers.setdefault(topic, set()).add(subscriber)
        # What changed between the page's answer and now was pushed to nobody.
        await subscriber.push("".join(self.shown[topic].values()))
        if not self.tasks:
            self.tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._work())]

    async def leave(self, topic: Topic, subscriber: Subscriber) -> None:
        """Forget a subscriber; the last one takes the topic, the last topic the tasks along."""
        present = self.subscribers.get(topic, set())
        present.discard(subscriber)
        if not present:
            self.subscribers.pop(topic, None)
            self.shown.pop(topic, None)
            self.dirty.discard(topic)
            self.steady.pop(topic, None)
        if not self.subscribers:
            tasks, self.tasks = self.tasks, []
            for task in tasks:
                task.cancel()
            # They close their connection to Redis, for which the loop must still be there.
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _present(self, topic: Topic) -> dict[str, str]:
        """Return a topic's sections; of many who come at once, only the first has them rendered."""
        if topic in self.shown:
            return self.shown[topic]
        if topic not in self.opening:
            opening = asyncio.create_task(_render(topic))
            self.opening[topic] = opening
            opening.add_done_callback(lambda _: self.opening.pop(topic, None))
        return await asyncio.shield(self.opening[topic])

    def note(self, message: dict[str, Any]) -> None:
        """Mark what a published change concerns."""
        tenant_id, job_id = (
            UUID(message[key]) if message.get(key) else None for key in ("tenant", "job")
        )
        concerned = [
            topic
            for topic in self.subscribers
            if topic.concerns(tenant_id=tenant_id, job_id=job_id)
        ]
        if message.get("kind", "").startswith(STEADY):
            self.steady |= dict.fromkeys(concerned)
        else:
            self.dirty.update(concerned)

    async def _listen(self) -> None:
        """Hear of changes; come back by itself after Redis was away."""
        failures = 0
        while self._is_current():
            client = connections.soft_state_async()
            try:
                async with client.pubsub() as channel:
                    await channel.subscribe(events.CHANNEL)
                    failures = 0
                    self.dirty |= set(self.subscribers)  # while we did not listen
                    while self._is_current():
                        message = await channel.get_message(
                            ignore_subscribe_messages=True, timeout=LISTEN_S
                        )
                        if message:
                            self.note(json.loads(message["data"]))
            except (redis.exceptions.RedisError, OSError, ValueError) as error:
                logger.warning("live.deaf", extra={"error": str(error)})
            finally:
                await client.aclose()
            await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1

    async def _work(self) -> None:
        """Render and push what is marked, then a slice of what moves; at times everything shown."""
        next_sweep, spent = time.monotonic() + SWEEP_S, 0.0
        while self._is_current():
            await asyncio.sleep(COLLECT_S)
            if time.monotonic() >= next_sweep:
                self.steady |= dict.fromkeys(self.subscribers)
                next_sweep, spent = time.monotonic() + max(SWEEP_S, SWEEP_SHARE * spent), 0.0
            told, self.dirty = self.dirty, set()
            for topic in told:
                self.steady.pop(topic, None)
                await self._refresh(topic)
            spent += await self._look_at_steady()

    async def _look_at_steady(self) -> float:
        """Refresh what moves for a slice of time, the longest unseen first; return how long."""
        began, later = time.monotonic(), self.steady
        # What is marked from now on comes after, so that no page gets more than two a second.
        self.steady = {}
        while later and time.monotonic() - began < SLICE_S:
            topic = next(iter(later))
            del later[topic]
            await self._refresh(topic)
        self.steady = later | self.steady
        return time.monotonic() - began

    def _is_current(self) -> bool:
        # A cancellation may be lost in a library's call, so it is not enough to end a task.
        return asyncio.current_task() in self.tasks

    async def _refresh(self, topic: Topic) -> None:
        try:
            sections = await _render(topic)
        except NotFound:
            await self._end(topic)
            return
        except Exception:  # the process's edge: the database may be away; the next sweep comes
            logger.exception("live.render_failed", extra={"page": topic.page})
            return
        before = self.shown.get(topic)
        if before is None:  # everybody left meanwhile
            return
        changed = [html for name, html in sections.items() if before.get(name) != html]
        self.shown[topic] = sections
        if changed:
            await self._push(topic, "".join(changed))

    async def _push(self, topic: Topic, html: str) -> None:
        """Push to all who see the topic; who does not read is not waited for."""
        begun = []
        for subscriber in self.subscribers.get(topic, ()):
            if subscriber in self.pushing:
                self.behind.add(subscriber)
                continue
            pushing = asyncio.create_task(self._push_to(topic, subscriber, html))
            self.pushing[subscriber] = pushing
            begun.append(pushing)
        if begun:
            await asyncio.wait(begun, timeout=PUSH_WAIT_S)

    async def _push_to(self, topic: Topic, subscriber: Subscriber, html: str) -> None:
        try:
            await _told(topic, subscriber, self._all_of(topic, subscriber, html))
        finally:
            self.behind.discard(subscriber)
            del self.pushing[subscriber]

    async def _all_of(self, topic: Topic, subscriber: Subscriber, html: str) -> None:
        await subscriber.push(html)
        while subscriber in self.behind:  # it missed some: all of it, as it is now
            self.behind.discard(subscriber)
            await subscriber.push("".join(self.shown.get(topic, {}).values()))

    async def _end(self, topic: Topic) -> None:
        present = list(self.subscribers.get(topic, ()))
        await asyncio.gather(*(_told(topic, one, one.end()) for one in present))


async def _told(topic: Topic, subscriber: Subscriber, telling: Awaitable[None]) -> None:
    """Wait until a browser has been told; one that takes nothing is dropped."""
    try:
        async with asyncio.timeout(PUSH_S):
            await telling
    except TimeoutError:
        logger.info("live.browser_stuck", extra={"page": topic.page})
        subscriber.drop()
    except Exception as error:  # noqa: BLE001 - that browser has gone; it leaves by itself
        logger.debug("live.not_sent", extra={"error": str(error)})


async def _render(topic: Topic) -> dict[str, str]:
    render = database_sync_to_async(fragments.sections_in_scope, thread_sensitive=False)
    sections: dict[str, str] = await render(topic, now=timezone.now())
    return sections


_relays: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Relay] = weakref.WeakKeyDictionary()


def relay() -> Relay:
    """Return the relay of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _relays:
        _relays[loop] = Relay()
    return _relays[loop]
