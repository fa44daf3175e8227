"""Why a job waits, and for how long likely: position, devices, who is ahead and by which rule."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from clients import selectors as client_selectors
from clients.selectors import SMALL
from jobs import holdout, maintenance, quarantine
from jobs import selectors as job_selectors
from jobs.constraints import Group
from jobs.models import Job, Round
from scheduling import planning, published, quotas, refusals, selectors, supply
from scheduling.models import TenantQuota, TenantShare
from tenants.scopes import system_scope

RATE_WINDOW_S = 3_600


@dataclass(frozen=True, slots=True)
class Ahead:
    """A round that is served before; ``rule`` is ``priority`` or the policy's name."""

    round_id: UUID
    job_id: UUID
    job_name: str
    tenant: str
    rule: str
    slots: int


@dataclass(frozen=True, slots=True)
class TenantPart:
    """What the job's tenant holds of what it may, and of all devices that are bound now."""

    held: int
    allowed: int | None
    guarantee: int
    lending_limit: int | None
    weight: float
    of_bound: float | None
    of_weights: float | None

    @property
    def is_full(self) -> bool:
        """Tell whether the tenant holds all the devices that it may."""
        return self.allowed is not None and self.held >= self.allowed


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why devices refused the job of late, and how many; None for a few that may not be told."""

    code: str
    devices: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """``code`` and ``message`` as the job's ``waiting``; the rest is there while devices lack.

    ``idle`` and ``bound_elsewhere`` count connected devices that meet the constraints; None for
    a number so small that it would tell of single devices. ``position`` is 1 for who is next.
    ``named`` are the rounds ahead whose names the reader may know.
    """

    code: str
    message: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    waited_s: float | None = None
    likely_s: float | None = None
    window_s: float | None = None
    needed: int = 0
    idle: int | None = 0
    bound_elsewhere: int | None = 0
    position: int | None = None
    rounds_ahead: int = 0
    slots_ahead: int = 0
    ahead_by_priority: int = 0
    named: tuple[Ahead, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    policy: str = ""
    rule: str = ""
    tenant: TenantPart | None = None


def explain(job: Job, *, now: datetime, everything: bool = False) -> Explanation:
    """Explain where ``job`` stands; with ``everything``, as an operator may see it."""
    waiting = maintenance.explained(job_selectors.waiting(job), maintenance.in_force())
    waiting = quarantine.explained(waiting)
    if job.status == Job.Status.SUBMITTED:
        return Explanation(
            waiting.code,
            waiting.message,
            waiting.numbers,
            waited_s=(now - job.submitted_at).total_seconds(),
            tenant=_part(job, now),
        )
    round_ = job_selectors.current_round(job)
    short = (
        job.status == Job.Status.RUNNING
        and round_ is not None
        and round_.status == Round.Status.SELECTING
        and round_.assigned < round_.target
        and waiting.code not in ("maintenance", "quarantined")
    )
    if not short or round_ is None:
        return Explanation(waiting.code, waiting.message, waiting.numbers)
    return _for_devices(job, round_, waiting, now, everything)


def rule_of(policy: str, parameters: Mapping[str, Any]) -> str:
    """Return by which rule a policy serves rounds, in one sentence: its module's first line."""
    made = planning.policy_or_default(policy, parameters)
    text = sys.modules[type(made).__module__].__doc__ or made.name
    return text.strip().splitlines()[0]


def _for_devices(
    job: Job, round_: Round, waiting: job_selectors.Waiting, now: datetime, everything: bool
) -> Explanation:
    online = supply.online()
    idle = supply.by_group(online.idle)[job.constraint_group]
    busy = supply.by_group(online.busy)[job.constraint_group]
    held = max(0, round_.assigned - round_.reported)
    elsewhere = max(0, busy - held)
    connected = {
        name: online.idle.get(name, 0) + online.busy.get(name, 0)
        for name in {*online.idle, *online.busy}
    }
    queue = published.ahead_of(round_.id, job.constraint_group, connected)
    found = _ahead(job, queue.ahead) if queue else ()
    slots = sum(one.slots for one in found)
    needed = round_.target - round_.assigned
    told = _told(idle, everything)
    policy = selectors.active_policy()
    part = _part(job, now)
    ordered = queue is not None and not queue.shuffled
    return Explanation(
        code=waiting.code,
        message=waiting.message,
        numbers=waiting.numbers,
        waited_s=(now - round_.opened_at).total_seconds(),
        # By the told count: from an exact one the time would tell what is hidden.
        likely_s=None if part.is_full else _likely(job, slots + needed, told or 0),
        window_s=max(0.0, (round_.selection_ends_at - now).total_seconds()),
        needed=needed,
        idle=told,
        bound_elsewhere=_told(elsewhere, everything),
        position=len(found) + 1 if ordered else None,
        rounds_ahead=len(found) if ordered else 0,
        slots_ahead=slots if ordered else 0,
        ahead_by_priority=sum(one.rule == "priority" for one in found) if ordered else 0,
        refusals=told_refusals(
            job, refusals.count(job.id, since=round_.opened_at, now=now), everything=everything
        ),
        named=tuple(one for one in found if everything or one.tenant == job.tenant.slug),
        policy=policy.name,
        rule=rule_of(policy.name, policy.parameters),
        tenant=part,
    )


def told_refusals(
    job: Job, found: Mapping[str, int], *, everything: bool = False
) -> tuple[Refusal, ...]:
    """Return why devices refused, the most frequent reason first; small counts in no order."""
    asked = set(job.spec["effective"]["pools"])
    own = {str(one.id) for one in client_selectors.pools_for(job.tenant_id) if not one.is_shared}
    open_ = everything or asked <= own
    told = [Refusal(code, _told(devices, open_)) for code, devices in found.items()]
    return tuple(sorted(told, key=lambda one: (-(one.devices or 0), one.code)))


def _ahead(job: Job, slots: Mapping[UUID, int]) -> tuple[Ahead, ...]:
    """Return the rounds ahead in their order; names of others are for operators only."""
    if not slots:
        return ()
    with system_scope():
        rows = {
            row.id: row
            for row in Round.objects.filter(id__in=list(slots)).select_related("job", "tenant")
        }
    policy = selectors.active_policy().name
    return tuple(
        Ahead(
            round_id=round_id,
            job_id=row.job_id,
            job_name=row.job.name,
            tenant=row.tenant.slug,
            rule="priority" if row.job.priority > job.priority else policy,
            slots=open_slots,
        )
        for round_id, open_slots in slots.items()
        if (row := rows.get(round_id)) is not None
    )


def _likely(job: Job, wanted: int, idle: int) -> float | None:
    """Return the time until that many fitting devices check in, as in the last hour; None if none.

    Slots ahead may go to devices that do not fit this job, so it is rather too long. Of those that
    fit, some may be held out from training.
    """
    trains = 1 - holdout.fraction_of(job.spec)
    rate = supply.rate_of(Group.of(job.spec["effective"]), RATE_WINDOW_S) * trains
    return max(0.0, wanted - idle * trains) / rate if rate > 0 else None


def _part(job: Job, now: datetime) -> TenantPart:
    share = TenantShare.objects.filter(tenant_id=job.tenant_id).first()
    quota = TenantQuota.objects.filter(tenant_id=job.tenant_id).first()
    spent = quotas.caps([job.tenant_id], now=now).get(job.tenant_id) == 0
    # Of other tenants only sums come out.
    with system_scope():
        held = job_selectors.bound_by_tenant()
        weights = dict.fromkeys({*job_selectors.tenants_waiting(), job.tenant_id}, 1.0)
        weights |= {one: row.weight for one, row in selectors.shares(weights).items()}
    total = sum(held.values())
    mine = held.get(job.tenant_id, 0)
    return TenantPart(
        held=mine,
        allowed=0 if spent else quotas.devices_at_once(share, quota),
        guarantee=share.guarantee if share else 0,
        lending_limit=share.lending_limit if share else None,
        weight=weights[job.tenant_id],
        of_bound=mine / total if total else None,
        of_weights=weights[job.tenant_id] / sum(weights.values()),
    )


def _told(count: int, everything: bool) -> int | None:
    return None if 0 < count < SMALL and not everything else count
