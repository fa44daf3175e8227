"""Signing in: who the device is, what it still holds, and that its older sessions end."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.utils import timezone

import clients.services
import jobs.selectors
from core.errors import PropiusError
from gateway import details, draining
from gateway import events as ev
from gateway import instructions as todo
from gateway.gathering import Gathering
from gateway.limits import MAX_HELLOS
from gateway.threads import DatabaseAway, Threads
from jobs.constraints import Profile
from propius import wire

if TYPE_CHECKING:
    from gateway.consumer import Connection

HELLOS_PER_S = 500.0
LONGEST_TURN_S = 60.0
Found = clients.services.Connected | PropiusError


class Hellos:
    """Checks hellos many at a time, and gives those that are too many their turns."""

    def __init__(self, threads: Threads) -> None:
        self.under_way = 0
        self._turn = 0.0
        self._connecting = Gathering[clients.services.Hello, Found](
            lambda many: threads.rows(lambda: _connected(many), patience_s=10.0)
        )
        self.held = Gathering[clients.services.Connected, wire.Assignment | None](
            lambda many: threads.rows(lambda: _held(many))
        )

    async def connect(self, hello: wire.Hello, nonce: str) -> clients.services.Connected:
        """Return the device. Raises what :func:`clients.services.connect` raises."""
        found = await self._connecting.ask(
            clients.services.Hello(
                hello.device, hello.signature, nonce, hello.sdk, hello.attributes, hello.workloads
            )
        )
        if isinstance(found, PropiusError):
            raise found
        return found

    def turn(self) -> float:
        """Return in how many seconds one more device may come: one after the other, not at once."""
        now = asyncio.get_running_loop().time()
        first = now + 1.0 + self.under_way / HELLOS_PER_S
        self._turn = min(max(self._turn + 1.0 / HELLOS_PER_S, first), now + LONGEST_TURN_S)
        return (self._turn - now) * random.uniform(1.0, 1.1)


async def check(one: Connection, do: todo.Verify) -> None:
    """Answer a hello."""
    hub, hello = one.hub, do.hello
    if hub.is_draining:
        one.feed(ev.ComeBackLater(draining.later().after_s, draining.CODE, draining.MESSAGE))
        return
    if hub.hellos.under_way >= MAX_HELLOS:
        wait_s = hub.hellos.turn()
        one.feed(ev.ComeBackLater(wait_s, "busy", "many devices sign in at once"))
        return
    hub.hellos.under_way += 1
    try:
        known = await hub.hellos.connect(hello, do.nonce)
        if one.is_closed:
            return
        one.device, one.pool_id = str(known.device_id), str(known.pool_id)
        one.sdk = hello.sdk
        one.stranger.known()
        older = hub.registry.enter(one)
        if older is not None:
            await older.settled()
        held = await hub.hellos.held.ask(known)
        await hub.software.known()
    except PropiusError as error:
        one.feed(ev.HelloRefused(error.code, error.detail, error.errors))
    except DatabaseAway:
        wait_s = hub.hellos.turn()
        one.feed(ev.ComeBackLater(wait_s, "unavailable", "the platform's database is away"))
    else:
        one.notice = hub.software.judge(one)
        one.introduce(Profile(known.attributes, known.workloads, one.pool_id))
        if held is not None:
            held = hub.binder.leaves.told(held, device=one.device, pool=one.pool_id)
        if held is not None and not one.is_closed:
            hub.registry.hold(held.id, one)
        one.feed(ev.Verified(held))
        one.feed(ev.Noticed(one.notice))
        hub.tell_connected(one.device, one.session_id)
    finally:
        hub.hellos.under_way -= 1


def spoken_protocol(text: str) -> int | None:
    """Return the protocol that a hello names which cannot be read otherwise."""
    try:
        plain = json.loads(text[: wire.MAX_CONTROL])
    except (ValueError, RecursionError):
        return None
    if not isinstance(plain, dict) or plain.get("type") != "hello":
        return None
    protocol = plain.get("protocol")
    return protocol if type(protocol) is int else None


def _connected(
    hellos: Sequence[clients.services.Hello],
) -> list[clients.services.Connected | PropiusError]:
    return clients.services.connect_many(hellos=hellos, now=timezone.now())


def _held(devices: Sequence[clients.services.Connected]) -> list[wire.Assignment | None]:
    now = timezone.now()
    found = jobs.selectors.assignments_for_devices([one.device_id for one in devices])
    return [
        details.of_held(found[one.device_id], one.workloads, now=now)
        if one.device_id in found
        else None
        for one in devices
    ]
