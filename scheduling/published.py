"""What the published plan says of a round: who is served before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import redis

from core import connections
from scheduling import keys


@dataclass(frozen=True, slots=True)
class Queue:
    """Who is served before a round: rounds with open slots, in the plan's order."""

    ahead: Mapping[UUID, int]
    shuffled: bool


def ahead_of(round_id: UUID, group: str, connected: Mapping[str, int]) -> Queue | None:
    """Return who is served before a round, to the signature of which most devices are connected.

    None if the published plan does not have the round (yet).
    """
    return ahead_of_each({round_id: group}, connected).get(round_id)


def ahead_of_each(groups: Mapping[UUID, str], connected: Mapping[str, int]) -> dict[UUID, Queue]:
    """Return who is served before each round, by its constraint group: the same few reads for any
    number of rounds. Those that the published plan does not have (yet) are left out.
    """
    client = connections.soft_state()
    asked = list(groups)
    numbers: Any = client.hmget(keys.P + "plan:numbers", [str(one) for one in asked])
    own = {one: number for one, number in zip(asked, numbers, strict=True) if number is not None}
    if not own:
        return {}
    listed: Any = client.hgetall(keys.P + "plan:signatures")
    served = {name.decode(): queues.split() for name, queues in listed.items() if queues}
    chosen = {one: _signature(groups[one], served, connected) for one in own}
    flags: Any = client.hmget(keys.PLAN, "shuffled", "merged")
    orders = {
        name: _order(client, served[name], merged=flags[1] == b"1")
        for name in sorted({name for name in chosen.values() if name is not None})
    }
    ahead = {
        one: _before(own[one], orders[name]) for one, name in chosen.items() if name is not None
    }
    slots = _slots(client, sorted({number for found in ahead.values() for number in found}))
    return {
        one: Queue(
            {slots[number][0]: slots[number][1] for number in found if number in slots},
            flags[0] == b"1",
        )
        for one, found in ahead.items()
    }


def _signature(
    group: str, served: Mapping[str, list[bytes]], connected: Mapping[str, int]
) -> str | None:
    """Return the signature that has the group and most devices connected."""
    fitting = (name for name in served if group in name.split("+"))
    return max(fitting, key=lambda name: (connected.get(name, 0), name), default=None)


def _order(client: redis.Redis, queues: list[bytes], *, merged: bool) -> list[bytes]:
    """Return the numbers of the rounds in the order in which a signature is served."""
    texts: Any = client.hmget(keys.P + "plan:queues", queues)
    order = b" ".join(text or b"" for text in texts).split()
    if merged:  # each with its place before it
        placed = sorted(zip(map(int, order[::2]), order[1::2], strict=True))
        order = [number for _, number in placed]
    return order


def _before(own: bytes, order: list[bytes]) -> list[bytes]:
    return order[: order.index(own)] if own in order else order


def _slots(client: redis.Redis, numbers: list[bytes]) -> dict[bytes, tuple[UUID, int]]:
    """Return, by its number, each round that has open slots, and how many."""
    if not numbers:
        return {}
    records: Any = client.hmget(keys.P + "plan:rounds", numbers)
    counts: Any = client.hmget(keys.P + "plan:open", numbers)
    return {
        number: (UUID(record.split()[0].decode()), int(count))
        for number, record, count in zip(numbers, records, counts, strict=True)
        if record is not None and count is not None and int(count) > 0
    }
