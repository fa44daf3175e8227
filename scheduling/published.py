"""What the published plan says of a round: who is served before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

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
    client = connections.soft_state()
    own: Any = client.hget(keys.P + "plan:numbers", str(round_id))
    if own is None:
        return None
    listed: Any = client.hgetall(keys.P + "plan:signatures")
    served = {name.decode(): queues.split() for name, queues in listed.items() if queues}
    fitting = [name for name in served if group in name.split("+")]
    if not fitting:
        return None
    signature = max(fitting, key=lambda name: (connected.get(name, 0), name))
    texts: Any = client.hmget(keys.P + "plan:queues", served[signature])
    flags: Any = client.hmget(keys.PLAN, "shuffled", "merged")
    shuffled = flags[0] == b"1"
    order = b" ".join(text or b"" for text in texts).split()
    if flags[1] == b"1":  # each with its place before it
        placed = sorted(zip(map(int, order[::2]), order[1::2], strict=True))
        order = [number for _, number in placed]
    places = order[: order.index(own)] if own in order else order
    if not places:
        return Queue({}, shuffled)
    records: Any = client.hmget(keys.P + "plan:rounds", places)
    counts: Any = client.hmget(keys.P + "plan:open", places)
    ahead = {
        UUID(record.split()[0].decode()): int(count)
        for record, count in zip(records, counts, strict=True)
        if record is not None and count is not None and int(count) > 0
    }
    return Queue(ahead, shuffled)
