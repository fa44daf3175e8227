"""The planner's side of Redis: begin before reading rows, publish after; fenced by version."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from redis.commands.core import Script

from core import connections
from core.errors import Conflict
from scheduling import keys, scripts
from scheduling.binding import PlanNotice


class PlanSuperseded(Conflict):
    """Something came between and nothing was published; ``by`` is version, epoch or late."""

    code = "plan_superseded"

    def __init__(self, by: str, detail: str) -> None:
        super().__init__(detail)
        self.by = by


@dataclass(frozen=True, slots=True)
class Begun:
    """What Redis held before the rows were read. ``epoch`` is empty if it has been emptied.

    ``pending`` are grants that had no outcome yet, as ``assignment:device``; ``known`` the rounds
    whose devices seen are in Redis.
    """

    epoch: str
    version: int
    at_ms: int
    pending: tuple[str, ...]
    known: frozenset[UUID]

    @property
    def pending_assignments(self) -> set[UUID]:
        """Return the assignment ids of the pending grants."""
        return {UUID(member.partition(":")[0]) for member in self.pending}

    def rows_among(self, known: set[UUID]) -> list[str]:
        """Return the pending grants whose assignment is among ``known``."""
        return [one for one in self.pending if UUID(one.partition(":")[0]) in known]


@dataclass(frozen=True, slots=True)
class PublishedRound:
    """A round as the scripts see it. ``free`` = target − assigned by its row."""

    id: str
    tenant: str
    group: str
    private: bool
    free: int
    info: Mapping[str, Any] = field(repr=False)

    def as_payload(self) -> dict[str, Any]:
        """Return what the script reads; the info goes through it as text."""
        return {
            "id": self.id,
            "tenant": self.tenant,
            "group": self.group,
            "private": int(self.private),
            "free": self.free,
            "info": json.dumps(self.info),
        }


@dataclass(frozen=True, slots=True)
class Publication:
    """Everything of one plan. Round ids in ``queues`` are those of ``rounds``.

    ``room`` is by tenant with a ceiling: the devices that it may still take by the rows.
    ``seen`` is by round that Redis did not know: the devices that have had it.
    """

    policy: str
    shuffled: bool
    groups: str
    groups_text: str
    rounds: Sequence[PublishedRound]
    queues: Mapping[str, Sequence[str]]
    signatures: Mapping[str, Sequence[str]]
    room: Mapping[str, int]
    seen: Mapping[str, Sequence[str]]
    rows: Sequence[str]


def begin() -> Begun:
    """Take a plan version and note what is under way; before any row is read."""
    epoch, version, at_ms, pending, known = _script("begin")(args=[keys.P])
    return Begun(
        epoch=epoch.decode(),
        version=int(version),
        at_ms=int(at_ms),
        pending=tuple(one.decode() for one in pending),
        known=frozenset(UUID(one.decode()) for one in known),
    )


def publish(begun: Begun, publication: Publication) -> PlanNotice:
    """Replace the plan in one step and tell the gateways. Raises PlanSuperseded."""
    payload = json.dumps(_payload(begun, publication), separators=(",", ":"))
    state, text = _script("publish")(args=[keys.P, payload])
    if state != b"ok":
        by = state.decode()
        raise PlanSuperseded(by, f"plan {begun.version} is refused: {by} is {text.decode()!r}")
    return PlanNotice.parse(text)


def _payload(begun: Begun, publication: Publication) -> dict[str, Any]:
    # Queues name rounds by their place in the list, and signatures name queues by number: at
    # 1 000 rounds and 500 signatures that is a tenth of the bytes.
    place = {one.id: str(index) for index, one in enumerate(publication.rounds, start=1)}
    number = {name: str(index) for index, name in enumerate(publication.queues)}
    return {
        "version": begun.version,
        "begun": begun.at_ms,
        "expected": begun.epoch,
        "new_epoch": secrets.token_hex(8),
        "policy": publication.policy,
        "shuffled": int(publication.shuffled),
        "groups": publication.groups,
        "groups_text": publication.groups_text,
        "rounds": [one.as_payload() for one in publication.rounds],
        "queues": {
            number[name]: " ".join(map(place.__getitem__, queue))
            for name, queue in publication.queues.items()
        },
        "signatures": {
            signature: " ".join(number[name] for name in names)
            for signature, names in publication.signatures.items()
        },
        "room": dict(publication.room),
        "seen": {round_id: list(devices) for round_id, devices in publication.seen.items()},
        "rows": list(publication.rows),
    }


@functools.cache
def _script(name: str) -> Script:
    return connections.soft_state().register_script(scripts.text(name))
