"""From rows and supply to a plan that can be published. Reads only; the order of reads matters."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from core import connections, knobs
from jobs import maintenance
from jobs import selectors as job_selectors
from jobs.selectors import OpenRound
from scheduling import history, keys, policies, publishing, quotas, selectors, supply, tiers
from scheduling.learning import Learnt
from scheduling.policies import Policy, Share, SignatureSupply, Snapshot
from scheduling.policies.shares import room

logger = logging.getLogger(__name__)


def prepare(begun: publishing.Begun, *, now: datetime) -> publishing.Publication:
    """Read the rows after ``begun`` and plan over them.

    Which pending grants have become rows is asked before the rounds' counts are read, so that
    every row left out of "pending" is in those counts.
    """
    rows = begun.rows_among(job_selectors.assignments_known(begun.pending_assignments))
    rounds = job_selectors.open_rounds()
    if maintenance.in_force() is not None:
        # The rounds stay known, so that what is on its way is counted; none has a free slot.
        rounds = [dataclasses.replace(one, remaining=0) for one in rounds]
    policy = active()
    bounds = supply.tier_bounds(getattr(policy, "tiers", 1), knobs.get().supply_window_s)
    groups = selectors.constraint_groups(bounds)
    held = job_selectors.bound_by_tenant()
    shares = _shares({one.tenant_id for one in rounds}, held, now)
    snapshot = Snapshot(
        now=now.timestamp(),
        rounds=_for_policy([one for one in rounds if one.remaining > 0], bounds, now),
        supply=_supply(groups),
        shares={str(tenant_id): share for tenant_id, share in shares.items()},
        # Of the fleet as a whole nothing is learnt: a job's tasks tell of themselves.
        tiers=(1.0,) * (len(bounds) + 1) if bounds else (),
    )
    plan = policy.plan(snapshot)
    new = [one.id for one in rounds if one.id not in begun.known]
    seen = job_selectors.devices_seen(new) if new else {}
    return publishing.Publication(
        policy=policy.name,
        shuffled=plan.shuffled,
        groups=groups.version,
        groups_text=groups.text,
        rounds=_published(rounds),
        queues=plan.queues,
        signatures=plan.signatures,
        room=room(snapshot),
        seen={str(one): [str(device) for device in devices] for one, devices in seen.items()},
        rows=rows,
        order=plan.order,
    )


def active() -> Policy:
    """Build the active policy; the default one if its row no longer fits the code."""
    chosen = selectors.active_policy()
    return policy_or_default(chosen.name, chosen.parameters)


def policy_or_default(name: str, parameters: Mapping[str, Any]) -> Policy:
    """Build a policy that a row names; the default one if the row no longer fits the code."""
    try:
        return policies.make(name, parameters)
    except policies.BadParameters as error:
        # A row from another release must not stop the platform.
        logger.error("policy.unusable", extra={"policy": name, "reason": str(error)})
        return policies.make(selectors.DEFAULT_POLICY, {})


def _for_policy(
    rounds: Sequence[OpenRound], bounds: tiers.Bounds, now: datetime
) -> tuple[policies.OpenRound, ...]:
    pasts = history.known().jobs({one.job_id for one in rounds}, now=now)
    nothing = Learnt()
    found = []
    for one in rounds:
        past = pasts.get(one.job_id, nothing)
        found.append(
            policies.OpenRound(
                id=str(one.id),
                job=str(one.job_id),
                tenant=str(one.tenant_id),
                group=one.group,
                demand=one.demand,
                remaining=one.remaining,
                rounds_left=one.rounds_left,
                priority=one.priority,
                submitted_at=one.submitted_at.timestamp(),
                opened_at=one.opened_at.timestamp(),
                quorum=one.quorum,
                bound=one.assigned,
                deadline_at=one.deadline_at.timestamp(),
                workload_s=past.workload_s,
                scheduling_s=past.scheduling_s,
                response_s=past.response_s,
                attained_s=past.attained_s,
                median_s=past.median_s,
                p95_s=past.p95_s,
                tiers=past.ratios(bounds) if bounds else (),
                selection_ends_at=one.selection_ends_at.timestamp(),
            )
        )
    return tuple(found)


def _published(rounds: Iterable[OpenRound]) -> Sequence[publishing.PublishedRound]:
    return [
        publishing.PublishedRound(
            id=str(one.id),
            tenant=str(one.tenant_id),
            group=one.group,
            private=bool(one.private),
            free=one.remaining,
            info={
                "job_id": str(one.job_id),
                "job_name": one.job_name,
                "tenant": one.tenant_slug,
                "kind": one.kind,
                "workload": one.workload,
                "private": one.private,
            },
            holdout=one.holdout.record if one.holdout else "",
        )
        for one in rounds
    ]


def _supply(groups: selectors.GroupSet) -> tuple[SignatureSupply, ...]:
    """Return all signatures that are known: of profiles, of connected devices, of misses."""
    client = connections.soft_state()
    signer = supply.signer()
    signer.refresh(client)
    of_profile = signer.signatures(groups.groups, groups.tiers)
    online = supply.online(groups.version)
    rates: dict[str, float] = {}
    for profile, rate in supply.check_in_rates(knobs.get().supply_window_s).items():
        if profile in of_profile:
            signature = of_profile[profile]
            rates[signature] = rates.get(signature, 0.0) + rate
    # A device that meets no group has a signature too; it is planned to get nothing.
    names = {"", *of_profile.values(), *online.idle, *online.busy}
    wanted: set[Any] = client.smembers(keys.WANTED)
    names.update(one.decode() for one in wanted)
    known = {group.id for group in groups.groups}
    supplies = []
    for name in sorted(names):
        members, tier = tiers.members(name)
        # Some were noted under other groups or tiers.
        is_whole = (tier is not None) == bool(members and groups.tiers)
        if members <= known and is_whole and (tier or 0) <= len(groups.tiers):
            supplies.append(
                SignatureSupply(
                    signature=name,
                    groups=members,
                    rate=rates.get(name, 0.0),
                    idle=online.idle.get(name, 0),
                    busy=online.busy.get(name, 0),
                    tier=tier or 0,
                )
            )
    return tuple(supplies)


def _shares(tenant_ids: set[UUID], held: dict[UUID, int], now: datetime) -> dict[UUID, Share]:
    rows = selectors.shares_in_force(tenant_ids)
    tenant_ids = tenant_ids | rows.keys()
    caps = quotas.caps(tenant_ids, now=now)
    used = history.known().used_s(tenant_ids, now=now)
    found = {}
    for tenant_id in tenant_ids:
        row = rows.get(tenant_id)
        cap = caps.get(tenant_id)
        bounds = [one for one in (row.ceiling if row else None, cap) if one is not None]
        ceiling = min(bounds, default=None)
        guarantee = row.guarantee if row else 0
        found[tenant_id] = Share(
            weight=row.weight if row else 1.0,
            guarantee=guarantee if ceiling is None else min(guarantee, ceiling),
            ceiling=ceiling,
            held=held.get(tenant_id, 0),
            used_s=used.get(tenant_id, 0.0),
            lending_limit=row.lending_limit if row else None,
        )
    return found
