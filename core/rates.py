"""Rates: how often something may be done. Counted in Redis in one atomic step for all processes.

With Redis away everything is allowed and a warning logged: an outage of soft state must not shut
everybody out.
"""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import redis.exceptions

from core import connections
from core.errors import TooMany

logger = logging.getLogger(__name__)

_SPEND = (Path(__file__).parent / "lua" / "spend.lua").read_text()


class RateExceeded(TooMany):
    """Too often; ``wait`` seconds from now it is allowed again."""

    code = "rate_exceeded"

    def __init__(self, detail: str, *, wait: float) -> None:
        super().__init__(detail)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``limit`` at once, and that many in each ``period_s`` in the long run."""

    name: str
    limit: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What became of an attempt, and what is left."""

    allowed: bool
    remaining: int
    wait_s: float
    reset_s: float


def spend(rate: Rate, who: str, *, cost: int = 1) -> Spent:
    """Count an attempt of ``who`` if it is within the rate, and tell whether it is."""
    client = connections.soft_state()
    arguments = (rate.limit, int(rate.period_s * 1000), cost)
    try:
        found = client.register_script(_SPEND)(keys=[_key(rate, who)], args=arguments)
    except redis.exceptions.RedisError as error:
        logger.warning("rate.uncounted", extra={"rate": rate.name, "error": str(error)})
        return Spent(allowed=True, remaining=rate.limit, wait_s=0, reset_s=0)
    allowed, remaining, wait_ms, reset_ms = (int(one) for one in found)
    return Spent(bool(allowed), remaining, wait_ms / 1000, reset_ms / 1000)


def require(rate: Rate, who: str, what: str) -> None:
    """Count an attempt. Raises RateExceeded, whose text names ``what``."""
    spent = spend(rate, who)
    if not spent.allowed:
        seconds = max(1, math.ceil(spent.wait_s))
        raise RateExceeded(f"too many {what}; try again in {seconds} s", wait=spent.wait_s)


def forget(rate: Rate, who: str) -> None:
    """Count from zero again."""
    try:
        connections.soft_state().delete(_key(rate, who))
    except redis.exceptions.RedisError as error:
        logger.warning("rate.uncounted", extra={"rate": rate.name, "error": str(error)})


def headers(rate: Rate, spent: Spent) -> dict[str, str]:
    """Return the standard headers (draft-ietf-httpapi-ratelimit-headers)."""
    return {
        "RateLimit-Policy": f'"{rate.name}";q={rate.limit};w={math.ceil(rate.period_s)}',
        "RateLimit": f'"{rate.name}";r={spent.remaining};t={math.ceil(spent.reset_s)}',
    }


def _key(rate: Rate, who: str) -> str:
    # Hashed: it may hold a user name, which is of any length and not for a memory dump.
    digest = hashlib.sha256(who.encode()).hexdigest()[:32]
    return f"{connections.PREFIX}rate:{rate.name}:{digest}"
