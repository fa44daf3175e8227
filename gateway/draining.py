"""A gateway that ends: each device is told when to come back, and finds the next gateway then.

Told all at once, they would all come at once. Those at work come first, while their leases last;
the others follow one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, Any

from core import knobs
from gateway.events import ComeBackLater
from gateway.states import HOLDING, State
from propius import wire

if TYPE_CHECKING:
    from gateway.hub import Hub

logger = logging.getLogger(__name__)

CODE = "draining"
MESSAGE = "this gateway ends; come back, another one takes over"
RETURNS_PER_S = 100.0
"""Of one gateway's devices: the next one has devices of its own that sign in."""
SOONEST_S = 1.0
LOOK_S = 0.05
SLICE = 500


def turns(working: int, others: int, *, lease_s: float) -> tuple[float, float]:
    """Return by when those at work, and then all others, shall have come back, in seconds.

    Half of a lease is left for those at work: it was renewed some time ago, and the device adds a
    spread of its own.
    """
    first_s = SOONEST_S + min(working / RETURNS_PER_S, lease_s / 2)
    return first_s, first_s + others / RETURNS_PER_S


def later() -> wire.Retry:
    """Return what a device hears that comes while the gateway ends."""
    after_s = random.uniform(SOONEST_S, 2 * SOONEST_S)
    return wire.Retry(after_s=after_s, code=CODE, message=MESSAGE)


async def drain(hub: Hub, *, within_s: float) -> None:
    """Send all devices away, and return when they have gone or after ``within_s``.

    A result that is being counted is answered first. What is half transferred stays, and goes on
    at the next gateway.
    """
    hub.is_draining = True
    logger.warning("gateway.draining", extra={"gateway": hub.identifier, "sockets": hub.sockets})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while hub.sockets:
                # Again and again: some were signing in, or had a result under way.
                await _send_away(
                    [one for one in hub.connections() if one.session.state is not State.REPORTING]
                )
                await asyncio.sleep(LOOK_S)
    await _send_away(hub.connections())
    logger.warning("gateway.drained", extra={"gateway": hub.identifier, "sockets": hub.sockets})


async def _send_away(connections: list[Any]) -> None:
    working = [one for one in connections if one.session.state in HOLDING]
    others = [one for one in connections if one.session.state not in HOLDING]
    lease_s = min(knobs.get().start_lease_s, knobs.get().lease_s)
    first_s, last_s = turns(len(working), len(others), lease_s=lease_s)
    for group, from_s, until_s in ((working, SOONEST_S, first_s), (others, first_s, last_s)):
        for number, one in enumerate(group):
            after_s = round(random.uniform(from_s, until_s + SOONEST_S), 3)
            one.feed(ComeBackLater(after_s, CODE, MESSAGE))
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)  # thousands of sockets: the others must breathe
