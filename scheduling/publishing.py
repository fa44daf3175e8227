"""The planner's side of Redis: begin before reading rows, publish after; fenced by version."""

from __future__ import annotations

import functools
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from redis.commands.core import Script

from core import connections
from core.errors import Conflict
from scheduling import keys, payload, scripts
from scheduling.binding import PlanNotice


class PlanSuperseded(Conflict):
    """Something came between and nothing was published; ``by`` is version, base, epoch or late."""

    code = "plan_superseded"

    def __init__(self, by: str, detail: str) -> None:
        super().__init__(detail)
        self.by = by


@dataclass(frozen=True, slots=True)
class Begun:
    """What Redis held before the rows were read. ``epoch`` is empty if it has been emptied.

    ``pending`` are grants that had no outcome yet, as ``assignment:device``; ``known`` the rounds
    whose devices seen are in Redis; ``base`` the present plan's version if it is this process's.
    """

    epoch: str
    version: int
    at_ms: int
    pending: tuple[str, ...]
    known: frozenset[UUID]
    base: int = 0

    @property
    def pending_assignments(self) -> set[UUID]:
        """Return the assignment ids of the pending grants."""
        return {UUID(member.partition(":")[0]) for member in self.pending}

    def rows_among(self, known: set[UUID]) -> list[str]:
        """Return the pending grants whose assignment is among ``known``."""
        return [one for one in self.pending if UUID(one.partition(":")[0]) in known]


@dataclass(frozen=True, slots=True)
class PublishedRound:
    """A round as the scripts see it. ``free`` = target − assigned by its row.

    ``holdout`` is the record of its job's rule, if it holds out devices.
    """

    id: str
    tenant: str
    group: str
    private: bool
    free: int
    info: Mapping[str, Any] = field(repr=False)
    holdout: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Publication:
    """Everything of one plan. Round ids in ``queues`` and ``order`` are those of ``rounds``.

    ``queues``, ``signatures``, ``shuffled`` and ``order`` are as the policy's Plan has them.
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
    order: Mapping[str, int] | None = None


_told = payload.Told()
"""Of the plan that this process published last."""
_taking = threading.Lock()


def begin() -> Begun:
    """Take a plan version and note what is under way; before any row is read."""
    told = _told
    epoch, version, at_ms, pending, known, present = _script("begin")(args=[keys.P, told.version])
    is_ours = told.version == int(present) and told.epoch == epoch.decode()
    return Begun(
        epoch=epoch.decode(),
        version=int(version),
        at_ms=int(at_ms),
        pending=tuple(one.decode() for one in pending),
        known=told.known if is_ours else frozenset(UUID(one.decode()) for one in known),
        base=told.version if is_ours else 0,
    )


def publish(begun: Begun, publication: Publication) -> PlanNotice:
    """Replace the plan in one step and tell the gateways. Raises PlanSuperseded."""
    global _told
    with _taking:  # until the answer is here nobody knows what Redis holds
        told, _told = _told, payload.Told()
    if not begun.base or told.version != begun.base:
        told = payload.Told()
    text = msgspec.json.encode(_payload(begun, publication, told))
    state, answer = _script("publish")(args=[keys.P, text])
    if state != b"ok":
        by = state.decode()
        raise PlanSuperseded(by, f"plan {begun.version} is refused: {by} is {answer.decode()!r}")
    notice = PlanNotice.parse(answer)
    told.version, told.epoch = begun.version, notice.epoch
    _told = told
    return notice


def _payload(begun: Begun, publication: Publication, told: payload.Told) -> dict[str, Any]:
    return {
        "version": begun.version,
        "base": told.version,
        "begun": begun.at_ms,
        "expected": begun.epoch,
        "new_epoch": secrets.token_hex(8),
        "policy": publication.policy,
        "shuffled": int(publication.shuffled),
        "merged": int(publication.order is not None),
        "groups": publication.groups,
        "groups_text": publication.groups_text,
        **payload.change(told, publication.rounds),
        **payload.change_queues(told, publication.queues, publication.order),
        **payload.change_signatures(told, publication.signatures),
        "room": dict(publication.room),
        "seen": {round_id: list(devices) for round_id, devices in publication.seen.items()},
        "rows": list(publication.rows),
    }


@functools.cache
def _script(name: str) -> Script:
    return connections.soft_state().register_script(scripts.text(name))
