"""Leaves as the root knows them: who they are, what they hold, and what they hand over.

An update is *held* from when a leaf has it on its disk until its sum is here. A device hears
``accepted`` only once its hold is a row, so the root knows of every update that was acknowledged.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

import jobs.services
import tenants.services
from aggregation import holds, results, under_way
from aggregation.models import Hold, Leaf
from aggregation.uploads import UpdateRefused
from clients.models import Pool
from core import knobs
from core.errors import Conflict, Invalid, NotAuthenticated, NotFound, PropiusError
from jobs.models import Assignment, Round

TOKEN_START = "ppl_"


class NameTaken(Conflict):
    """Another leaf has this name."""

    code = "name_taken"


class BadUrl(Invalid):
    """Devices could not reach a leaf there."""

    code = "bad_url"


class LeafUnknown(NotAuthenticated):
    """No leaf has this token, or its leaf was revoked."""

    code = "leaf_unknown"


@dataclass(frozen=True, slots=True)
class Report:
    """An update that a leaf has on its disk; ``fault`` is what is wrong with its ticket."""

    assignment_id: UUID
    digest: str
    size_bytes: int
    weight: float
    metrics: Mapping[str, float]
    fault: PropiusError | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """Assignments that the leaf holds now; those that it may not, and why; and whether to push."""

    taken: frozenset[UUID]
    refused: Mapping[UUID, PropiusError]
    push: bool


@transaction.atomic
def create_leaf(
    *, name: str, url: str, pools: Sequence[Pool], actor: str, now: datetime
) -> tuple[Leaf, str]:
    """Create a leaf; returns its row and its token, which is not kept. Raises NameTaken, BadUrl."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        text = f"{url!r}; http://HOST[:PORT] or https://HOST is allowed"
        raise BadUrl(f"the leaf's address is {text}", errors={"url": text})
    secret = TOKEN_START + secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            leaf = Leaf.objects.create(
                name=name,
                url=url.rstrip("/"),
                digest=tenants.services.digest_of(secret),
                start=secret[:8],
                created_at=now,
            )
    except IntegrityError:
        raise NameTaken(f"there is a leaf {name!r} already", errors={"name": name}) from None
    leaf.pools.set(pools)
    tenants.services.audit(
        tenant_id=None, actor=actor, action="leaf.create", target=name, now=now,
        url=leaf.url, pools=[pool.name for pool in pools],
    )  # fmt: skip
    return leaf, secret


@transaction.atomic
def revoke_leaf(*, name: str, actor: str, now: datetime) -> None:
    """Shut a leaf out; what it holds is given up by the next sweep. Raises NotFound."""
    if not Leaf.objects.filter(name=name, revoked_at=None).update(revoked_at=now):
        raise NotFound(f"there is no leaf {name!r}")
    tenants.services.audit(tenant_id=None, actor=actor, action="leaf.revoke", target=name, now=now)


def authenticate(token: str) -> Leaf:
    """Return the leaf of a token. Raises LeafUnknown."""
    digest = tenants.services.digest_of(token)
    leaf = Leaf.objects.filter(digest=digest, revoked_at=None).first()
    if leaf is None:
        raise LeafUnknown("no leaf has this token; make one with manage.py leaves create")
    return leaf


def beat(
    *,
    leaf: Leaf,
    load: Mapping[str, Any],
    round_ids: Collection[UUID],
    transfers: Mapping[UUID, under_way.Told | None] | None = None,
    now: datetime,
) -> dict[UUID, str]:
    """Note a heartbeat, and what moves through the leaf (null: it has ended).

    Returns of each round that the leaf asks about: open, push or over.
    """
    Leaf.objects.filter(id=leaf.id).update(heard_at=now, load=dict(load))
    _pass_on(leaf, transfers or {})
    found = {one.id: one for one in Round.objects.filter(id__in=round_ids)}
    told = {}
    for round_id in round_ids:
        one = found.get(round_id)
        if one is None or one.status in (Round.Status.AGGREGATING, Round.Status.FINISHED):
            told[round_id] = "over"
        else:
            told[round_id] = "push" if jobs.services.wants_held(one, now=now) else "open"
    return told


def _pass_on(leaf: Leaf, transfers: Mapping[UUID, under_way.Told | None]) -> None:
    """Tell pages of a leaf's transfers, of assignments that it serves only."""
    if not transfers:
        return
    asked = Assignment.objects.filter(id__in=transfers)
    own = {one: transfers[one] for one in _in_pools(leaf, asked).values_list("id", flat=True)}
    found = {str(one): told for one, told in own.items() if told is not None}
    ended = [str(one) for one, told in own.items() if told is None]
    under_way.tell(found, ended)


@transaction.atomic
def hold(*, leaf: Leaf, round_id: UUID, reports: Sequence[Report], now: datetime) -> Holding:
    """Note what a leaf has on its disk; from now on it counts as acknowledged. Safe to repeat."""
    round_ = Round.objects.select_for_update(no_key=True).filter(id=round_id).first()
    if round_ is None:
        raise NotFound(f"there is no round {round_id}")
    asked = {one.assignment_id: one for one in reports}
    own = Hold.objects.filter(leaf=leaf, assignment_id__in=asked)
    mine = set(own.values_list("assignment_id", flat=True))
    steps = results.steps_by(round_.job.spec)
    faults = {one: _fault(asked[one], steps) for one in asked.keys() - mine}
    refused = {one: fault for one, fault in faults.items() if fault is not None}
    asked = {one: report for one, report in asked.items() if one not in refused}
    new = _served(leaf, round_).filter(id__in=asked.keys() - mine)
    done = jobs.services.acknowledge(
        round_id=round_id, assignment_ids=list(new.values_list("id", flat=True)), now=now
    )
    Hold.objects.bulk_create(
        Hold(
            tenant_id=round_.tenant_id,
            assignment_id=identifier,
            round=round_,
            leaf=leaf,
            digest=asked[identifier].digest,
            size_bytes=asked[identifier].size_bytes,
            weight=asked[identifier].weight,
            metrics=dict(asked[identifier].metrics),
            held_at=now,
        )
        for identifier in sorted(done.taken)
    )
    taken = mine | done.taken
    refused |= {one: _why(one) for one in asked.keys() - taken}
    return Holding(frozenset(taken), refused, done.is_full)


def give_up(*, now: datetime) -> int:
    """Give up what will not come: of silent leaves, and what full rounds have waited for.

    Returns how many updates. Holds of rounds that are over are forgotten.
    """
    over = (Round.Status.AGGREGATING, Round.Status.FINISHED)
    Hold.objects.filter(round__status__in=over).delete()
    count = 0
    for leaf in Leaf.objects.filter(holds__isnull=False).distinct():
        alive = leaf.revoked_at is None and (leaf.heard_at or now) > holds.silent_since(now)
        for round_ in Round.objects.filter(holds__leaf=leaf).distinct():
            if not alive or jobs.services.waited_enough(round_, now=now):
                count += _lose(leaf, round_, alive, now)
    return count


def addresses(*, now: datetime) -> list[tuple[UUID, str, frozenset[UUID]]]:
    """Return id, address and pools (none: all) of the leaves that devices may be sent to."""
    alive = Leaf.objects.filter(revoked_at=None, heard_at__gt=holds.silent_since(now))
    rows = alive.prefetch_related("pools").order_by("id")
    return [(row.id, row.url, frozenset(one.id for one in row.pools.all())) for row in rows]


def serves(leaf: Leaf, round_: Round) -> bool:
    """Tell whether a device of the leaf's pools takes part in a round."""
    return _served(leaf, round_).exists()


def _served(leaf: Leaf, round_: Round) -> QuerySet[Assignment]:
    """Return the assignments of a round that send an update, and may do so through the leaf."""
    if round_.kind != Round.Kind.TRAIN:
        return Assignment.objects.none()
    return _in_pools(leaf, Assignment.objects.filter(round=round_))


def _in_pools(leaf: Leaf, rows: QuerySet[Assignment]) -> QuerySet[Assignment]:
    """Narrow assignments to the pools of a leaf; one that names no pool serves all."""
    pools = list(leaf.pools.values_list("id", flat=True))
    return rows.filter(device__pool_id__in=pools) if pools else rows


@transaction.atomic
def _lose(leaf: Leaf, round_: Round, alive: bool, now: datetime) -> int:
    Round.objects.select_for_update(no_key=True).get(id=round_.id)
    held = Hold.objects.filter(leaf=leaf, round=round_)
    ids = list(held.values_list("assignment_id", flat=True))
    seconds = knobs.get().leaf_wait_s if alive else knobs.get().leaf_silent_s
    what = "did not hand them over" if alive else "has not been heard"
    message = (
        f"{len(ids)} updates that leaf {leaf.name} had taken are given up:"
        f" it {what} for {seconds:g} s"
    )
    held.delete()
    return jobs.services.lose_held(round_id=round_.id, assignment_ids=ids, message=message, now=now)


def _fault(report: Report, steps: results.Steps | None) -> PropiusError | None:
    if report.fault is not None:
        return report.fault
    try:
        results.check(report.weight, report.metrics, steps)
    except UpdateRefused as error:
        return error
    return None


def _why(assignment_id: UUID) -> PropiusError:
    held = Assignment.objects.filter(id=assignment_id).first()
    if held is None:
        return jobs.services.StaleAssignment(f"there is no assignment {assignment_id}")
    if held.status == Assignment.Status.BOUND and not jobs.services.is_shut_out(held):
        return jobs.services.RoundClosed("the round has all that it asks for, or not of this leaf")
    try:
        jobs.services.raise_over(assignment_id, held.device_id)
    except PropiusError as error:
        return error
