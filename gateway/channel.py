"""What other processes say to this gateway, by pub/sub. A lost message costs time, nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from core import hints
from gateway.binder import REDIS_AWAY
from scheduling import keys
from scheduling.binding import PlanNotice

if TYPE_CHECKING:
    from gateway.hub import Hub

logger = logging.getLogger(__name__)

RETRY_S = 0.5


class Channel:
    """Listens for plans, cancellations, revocations, newer sessions and the end."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def run(self) -> None:
        """Listen for as long as the process lives."""
        while True:
            try:
                await self._listen()
            except REDIS_AWAY:
                await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        async with self._hub.redis.pubsub() as pubsub:
            await pubsub.subscribe(keys.PLAN_CHANNEL, hints.GATEWAYS)
            # What was said while nobody listened here is found in the rows.
            self._hub.presence.look_soon()
            self._hub.software.look_soon()
            async for message in pubsub.listen():
                if message["type"] != "message":
                    continue
                if message["channel"] == keys.PLAN_CHANNEL.encode():
                    await self._hub.planned(PlanNotice.parse(message["data"]))
                else:
                    self._heard(json.loads(message["data"]))

    def _heard(self, message: dict[str, Any]) -> None:
        registry = self._hub.registry
        if "cancelled" in message:
            code, words = message.get("code", "cancelled"), message.get("message", "")
            registry.cancel(message["cancelled"], code, words)
        if "revoked" in message:
            registry.revoke(message["revoked"])
        if "software" in message:
            self._hub.software.look_soon()
        if message.get("drain") == self._hub.identifier:
            os.kill(os.getpid(), signal.SIGTERM)  # the server drains, and this process ends
        for device, session_id in message.get("connected", ()):
            registry.replaced(device, session_id)
