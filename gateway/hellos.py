"""Signing in: who the device is, what it still holds, and that its older sessions end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

from django.utils import timezone

import clients.services
import jobs.selectors
from core.errors import PropiusError
from gateway import details
from gateway import events as ev
from gateway import instructions as todo
from gateway.limits import MAX_HELLOS, pace
from gateway.threads import DatabaseAway
from jobs.constraints import Profile
from propius import wire

if TYPE_CHECKING:
    from gateway.consumer import Connection

HELLOS_PER_S = 300.0


async def check(one: Connection, do: todo.Verify) -> None:
    """Answer a hello."""
    hub, hello = one.hub, do.hello
    if hub.hellos >= MAX_HELLOS:
        wait_s = pace(hub.hellos, HELLOS_PER_S)
        one.feed(ev.ComeBackLater(wait_s, "busy", "many devices sign in at once"))
        return
    hub.hellos += 1
    try:
        known = await hub.threads.rows(lambda: _connected(hello, do.nonce), patience_s=10.0)
        if one.is_closed:
            return
        one.device, one.pool_id = str(known.device_id), str(known.pool_id)
        older = hub.registry.enter(one)
        if older is not None:
            await older.settled()
        held = await hub.threads.rows(lambda: _held(known.device_id))
    except PropiusError as error:
        one.feed(ev.HelloRefused(error.code, error.detail, error.errors))
    except DatabaseAway:
        wait_s = pace(hub.hellos, HELLOS_PER_S)
        one.feed(ev.ComeBackLater(wait_s, "unavailable", "the platform's database is away"))
    else:
        one.introduce(Profile(known.attributes, known.workloads, one.pool_id))
        if held is not None and not one.is_closed:
            hub.registry.hold(held.id, one)
        one.feed(ev.Verified(held))
        await hub.tell_connected(one.device, one.session_id)
    finally:
        hub.hellos -= 1


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


def _connected(hello: wire.Hello, nonce: str) -> clients.services.Connected:
    return clients.services.connect(
        device_id=hello.device,
        signature=hello.signature,
        nonce=nonce,
        sdk=hello.sdk,
        attributes=hello.attributes,
        workloads=hello.workloads,
        now=timezone.now(),
    )


def _held(device_id: UUID) -> wire.Assignment | None:
    detail = jobs.selectors.assignment_for_device(device_id)
    return None if detail is None else details.assignment(detail, now=timezone.now())
