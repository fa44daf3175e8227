"""Connections to Redis, one pool a process and kind. Keys of the platform begin with ``{p}:``."""

from __future__ import annotations

import functools

import redis
import redis.asyncio
from django.conf import settings

PREFIX = "{p}:"


@functools.cache
def soft_state() -> redis.Redis:
    """Return the process's synchronous Redis client (bytes in, bytes out)."""
    return redis.Redis.from_url(settings.REDIS_URL, health_check_interval=15)


def soft_state_async() -> redis.asyncio.Redis:
    """Return a new asynchronous client; its owner closes it. A client belongs to one loop."""
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, health_check_interval=15)
