"""Hints: on commit, tell a worker or a gateway to look at the rows now. Losing one loses nothing.

The row is the trigger; a sweep finds every row whose hint was lost. So a hint never fails the
write it follows: Redis away is logged and left to the sweep.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import celery
import kombu.exceptions
import redis.exceptions
from django.db import transaction

from core import connections

logger = logging.getLogger(__name__)

COALESCE_MS = 1000
EXPIRES_S = 60
"""After an hour without its worker a queue holds an hour of hints; the sweep says it all again."""

OPENED = "opened"
"""Why a plan is asked for, if a round has opened: devices wait for it."""

MERGE_S = 0.25
GATEWAYS = connections.PREFIX + "gateways"
"""Channel that every gateway listens on."""


def send(task: str, *args: str, queue: str) -> None:
    """Ask for ``task`` on ``queue`` once this transaction has committed.

    Equal hints are one until the task has begun: it calls :func:`taken` first.
    """
    transaction.on_commit(lambda: _send(task, args, queue), robust=True)


def taken(task: str, *args: str) -> None:
    """Say that ``task`` has begun, so that a change from now on is hinted again."""
    try:
        connections.soft_state().delete(_flag(task, args))
    except redis.exceptions.RedisError as error:
        # The flag ends by itself; the task that has begun goes on.
        logger.warning("hint.not_taken", extra={"task": task, "error": str(error)})


def is_asked(task: str, *args: str) -> bool:
    """Tell whether a hint has been sent of which the task has not begun."""
    try:
        return bool(connections.soft_state().exists(_flag(task, args)))
    except redis.exceptions.RedisError:
        return False


def to_gateways(message: dict[str, Any]) -> None:
    """Publish ``message`` to all gateways once this transaction has committed."""
    transaction.on_commit(lambda: _publish(GATEWAYS, message), robust=True)


def publish(channel: str, message: dict[str, Any]) -> None:
    """Publish ``message`` on ``channel`` once this transaction has committed."""
    transaction.on_commit(lambda: _publish(channel, message), robust=True)


def publish_soon(channel: str, message: dict[str, Any]) -> None:
    """Publish ``message`` once this transaction has committed; equal ones of a while are one.

    The first goes at once. What follows within :data:`MERGE_S` goes at its end, all in one round
    trip: pages that watch a busy job need to hear that it changed, not how often.
    """
    transaction.on_commit(lambda: _merge(channel, json.dumps(message)), robust=True)


_merging = threading.Lock()
_merged: set[tuple[str, str]] | None = None
"""What is to be said at the end of the running while; None while none runs."""


def _merge(channel: str, text: str) -> None:
    global _merged
    with _merging:
        if _merged is not None:
            _merged.add((channel, text))
            return
        _merged = set()
        end = threading.Timer(MERGE_S, _say_merged)
        end.daemon = True
        end.start()
    _publish_all({(channel, text)})


def _say_merged() -> None:
    global _merged
    with _merging:
        said, _merged = _merged or set(), None
    _publish_all(said)


def _publish_all(said: set[tuple[str, str]]) -> None:
    if not said:
        return
    try:
        with connections.soft_state().pipeline(transaction=False) as pipe:
            for channel, text in said:
                pipe.publish(channel, text)
            pipe.execute()
    except redis.exceptions.RedisError as error:
        logger.warning("hint.lost", extra={"count": len(said), "error": str(error)})


def _send(task: str, args: tuple[str, ...], queue: str) -> None:
    try:
        # The flag ends by itself: a hint whose task was lost must not silence the next ones.
        if connections.soft_state().set(_flag(task, args), b"1", nx=True, px=COALESCE_MS):
            celery.current_app.send_task(
                task,
                args=args,
                queue=queue,
                ignore_result=True,
                retry=False,
                expires=EXPIRES_S,
            )
    except (redis.exceptions.RedisError, kombu.exceptions.KombuError, OSError) as error:
        logger.warning("hint.lost", extra={"task": task, "error": str(error)})


def _publish(channel: str, message: dict[str, Any]) -> None:
    try:
        connections.soft_state().publish(channel, json.dumps(message))
    except redis.exceptions.RedisError as error:
        logger.warning("hint.lost", extra={"channel": channel, "error": str(error)})


def _flag(task: str, args: tuple[str, ...]) -> str:
    return connections.PREFIX + "hint:" + ":".join((task, *args))
