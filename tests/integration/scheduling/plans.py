"""Plans published by hand, and a binder to ask of them; no rows needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from core import connections
from scheduling import keys, publishing
from scheduling.binding import Binder, PlanNotice, Request
from scheduling.publishing import Publication, PublishedRound

GROUPS = "groups-1"


def round_id(number: int) -> str:
    return str(UUID(int=number))


def round_(
    number: int, *, free: int, tenant="acme", group="aa", private=False, holdout=""
) -> PublishedRound:
    info = {
        "job_id": round_id(number + 1000),
        "job_name": f"job {number}",
        "tenant": tenant,
        "kind": "train",
        "workload": {},
        "private": {"classes": {"min": 2}} if private else {},
    }
    return PublishedRound(round_id(number), tenant, group, private, free, info, holdout)


def publish(
    *rounds: PublishedRound,
    begun: publishing.Begun | None = None,
    signatures: Iterable[str] = ("aa",),
    room: Mapping[str, int] | None = None,
    rows: Iterable[str] = (),
    seen: Mapping[str, list[str]] | None = None,
    shuffled: bool = False,
    merged: bool = False,
    groups: str = GROUPS,
) -> PlanNotice:
    """Publish rounds in this order; each signature gets those whose group it has.

    A signature has a queue of its own; or there is one a group, to be merged.
    """
    names = {name: name.split("+") if merged and name else [name] for name in signatures}
    queues = {
        queue: [one.id for one in rounds if one.group in queue.split("+")]
        for queue in {queue for named in names.values() for queue in named}
    }
    publication = Publication(
        policy="fifo",
        shuffled=shuffled,
        groups=groups,
        groups_text="{}",
        rounds=rounds,
        queues=queues,
        signatures=names,
        room=room or {},
        seen=seen or {},
        rows=list(rows),
        order={one.id: place for place, one in enumerate(rounds)} if merged else None,
    )
    return publishing.publish(begun or publishing.begin(), publication)


def open_slots(redis) -> dict[str, int]:
    """Return the open slots by round, as the scripts have them."""
    with redis.pipeline(transaction=True) as both:  # no plan comes between them
        both.hgetall(keys.P + "plan:open").hgetall(keys.P + "plan:numbers")
        slots, numbers = both.execute()
    return {one.decode(): int(slots[number]) for one, number in numbers.items()}


def request(signature: str = "aa", device: str = "") -> Request:
    return Request(device or str(uuid4()), str(uuid4()), signature)


def requests(count: int, signature: str = "aa") -> list[Request]:
    return [request(signature) for _ in range(count)]


@asynccontextmanager
async def binder():
    client = connections.soft_state_async()
    try:
        yield Binder(client)
    finally:
        await client.aclose()
