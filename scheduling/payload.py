"""What of a plan has to be told to Redis: all of it, or what has changed since the one it has.

Most of a plan stands from one to the next: rounds live for minutes, queues change where demand
does. The process that published the present plan knows what Redis holds; another one, or one whose
plan was superseded, sends all. The script refuses a change that builds on another plan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from scheduling.publishing import PublishedRound


@dataclass(slots=True)
class Told:
    """What Redis holds by the plan ``version``; nothing if that is 0.

    Rounds and queues have numbers, so that a queue is a short text and a signature a shorter one.
    """

    version: int = 0
    epoch: str = ""
    rounds: dict[str, int] = field(default_factory=dict)
    known: frozenset[UUID] = frozenset()
    numbers: dict[str, str] = field(default_factory=dict)
    queues: dict[str, str] = field(default_factory=dict)
    signatures: dict[str, tuple[str, ...]] = field(default_factory=dict)
    next_round: int = 1
    next_queue: int = 1


def change(told: Told, rounds: Sequence[PublishedRound]) -> dict[str, Any]:
    """Take in the rounds; return what the script needs of them. O(rounds).

    Of all: number, free slots, tenant and group by their places in the lists of those.
    """
    tenants: dict[str, int] = {}
    groups: dict[str, int] = {}
    numbers, tenant_of, group_of, new = [], [], [], []
    for one in rounds:
        number = told.rounds.get(one.id)
        if number is None:
            number = told.rounds[one.id] = told.next_round
            told.next_round += 1
            record = f"{one.id} {one.tenant} {one.group} {int(one.private)}"
            if one.holdout:
                record += f" {one.holdout}"
            new.append((number, one.id, record, json.dumps(one.info)))
        numbers.append(number)
        tenant_of.append(tenants.setdefault(one.tenant, len(tenants) + 1))
        group_of.append(groups.setdefault(one.group, len(groups) + 1))
    gone = []
    if len(told.rounds) > len(rounds):
        gone = sorted(told.rounds.keys() - {one.id for one in rounds})
    gone_numbers = [told.rounds.pop(one) for one in gone]
    if new or gone:
        told.known = told.known.difference(map(UUID, gone)).union(UUID(one[1]) for one in new)
    return {
        "numbers": numbers,
        "free": [one.free for one in rounds],
        "tenant_of": tenant_of,
        "group_of": group_of,
        "tenants": list(tenants),
        "groups_named": list(groups),
        "new": new,
        "gone": gone,
        "gone_numbers": gone_numbers,
    }


def change_queues(
    told: Told, queues: Mapping[str, Sequence[str]], order: Mapping[str, int] | None
) -> dict[str, Any]:
    """Take in the queues, after the rounds in them; O(all their rounds).

    A queue is the numbers of its rounds, each with its place before it if there is an order.
    """
    if order is None:
        shown = {one: str(number) for one, number in told.rounds.items()}
    else:
        shown = {one: f"{place} {told.rounds[one]}" for one, place in order.items()}
    texts = {}
    for name, queue in queues.items():
        text = " ".join(map(shown.__getitem__, queue))
        if told.queues.get(name) != text:
            told.queues[name] = text
            if name not in told.numbers:
                told.numbers[name] = str(told.next_queue)
                told.next_queue += 1
            texts[told.numbers[name]] = text
    gone = [name for name in told.queues if name not in queues]
    for name in gone:
        del told.queues[name]
    return {"queues": texts, "gone_queues": [told.numbers.pop(name) for name in gone]}


def change_signatures(told: Told, signatures: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Take in the signatures, after the queues that they name.

    A queue that went and came back has another number, and was in no signature in between.
    """
    texts = {}
    for name, queues in signatures.items():
        kept = tuple(queues)
        if told.signatures.get(name) != kept:
            told.signatures[name] = kept
            texts[name] = " ".join([told.numbers[queue] for queue in kept])
    gone = [name for name in told.signatures if name not in signatures]
    for name in gone:
        del told.signatures[name]
    return {"signatures": texts, "gone_signatures": gone}
