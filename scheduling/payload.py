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
    rounds: dict[str, str] = field(default_factory=dict)
    known: frozenset[UUID] = frozenset()
    numbers: dict[str, str] = field(default_factory=dict)
    queues: dict[str, tuple[str, ...]] = field(default_factory=dict)
    signatures: dict[str, tuple[str, ...]] = field(default_factory=dict)
    next_round: int = 1
    next_queue: int = 1


def change(told: Told, rounds: Sequence[PublishedRound]) -> dict[str, Any]:
    """Take in the rounds; return what the script needs of them. O(rounds)."""
    ids = [one.id for one in rounds]
    new = []
    for place, one in enumerate(rounds, start=1):
        if one.id not in told.rounds:
            number = told.rounds[one.id] = str(told.next_round)
            told.next_round += 1
            new.append((number, place, int(one.private), json.dumps(one.info)))
    gone = list(told.rounds.keys() - set(ids)) if len(told.rounds) > len(ids) else []
    gone_numbers = [told.rounds.pop(one) for one in gone]
    if new or gone or not told.version:
        told.known = frozenset(map(UUID, ids))
    return {
        "ids": ids,
        "tenants": [one.tenant for one in rounds],
        "groups_of": [one.group for one in rounds],
        "free": [one.free for one in rounds],
        "new": new,
        "gone": gone,
        "gone_numbers": gone_numbers,
    }


def change_queues(told: Told, queues: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Take in the queues, after the rounds in them. O(all their rounds) to compare."""
    texts = {}
    for name, queue in queues.items():
        kept = tuple(queue)
        if told.queues.get(name) != kept:
            told.queues[name] = kept
            if name not in told.numbers:
                told.numbers[name] = str(told.next_queue)
                told.next_queue += 1
            texts[told.numbers[name]] = " ".join(map(told.rounds.__getitem__, kept))
    gone = [name for name in told.queues if name not in queues]
    for name in gone:
        del told.queues[name]
    return {"queues": texts, "gone_queues": [told.numbers.pop(name) for name in gone]}


def change_signatures(told: Told, signatures: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Take in the signatures, before queues that have ended are forgotten by name."""
    texts = {}
    for name, queues in signatures.items():
        # By number: a queue may have ended and another have its name since.
        kept = tuple([told.numbers[queue] for queue in queues])
        if told.signatures.get(name) != kept:
            told.signatures[name] = kept
            texts[name] = " ".join(kept)
    gone = [name for name in told.signatures if name not in signatures]
    for name in gone:
        del told.signatures[name]
    return {"signatures": texts, "gone_signatures": gone}
