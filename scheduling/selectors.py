"""Reads of the sharing policy, the shares and the published plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from core import connections
from jobs.constraints import Group
from jobs.models import Assignment, Job
from scheduling import keys, tiers
from scheduling.models import PlanRecord, SharingPolicy, TenantShare

DEFAULT_POLICY = "fair"


@dataclass(frozen=True, slots=True)
class ActivePolicy:
    """The policy in force, and who chose it when and why."""

    name: str
    parameters: dict[str, Any]
    reason: str = ""
    author: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class GroupSet:
    """Constraint groups of all unfinished jobs. ``version`` is a digest, so it outlives Redis.

    ``tiers`` are the boundaries between speed tiers, where signatures tell them apart.
    """

    version: str
    groups: tuple[Group, ...]
    text: str
    tiers: tiers.Bounds = ()


@dataclass(frozen=True, slots=True)
class PlanState:
    """The published plan."""

    version: int
    policy: str
    at: datetime


def active_policy() -> ActivePolicy:
    """Return the newest choice, or the default if nobody ever chose."""
    row = SharingPolicy.objects.order_by("-id").first()
    if row is None:
        return ActivePolicy(DEFAULT_POLICY, {})
    return ActivePolicy(row.name, row.parameters, row.reason, row.author, row.created_at)


def policies_between(since: datetime, until: datetime) -> list[tuple[int, ActivePolicy]]:
    """Return the policies in force at some time between two, oldest first, with their versions.

    Version 0 is the default, from before anybody chose.
    """
    rows = SharingPolicy.objects.filter(created_at__lte=until).order_by("id")
    before = rows.filter(created_at__lte=since).last()
    if before is None:
        found = [(0, ActivePolicy(DEFAULT_POLICY, {}))]
    else:
        found, rows = [], rows.filter(id__gte=before.id)
    return found + [
        (one.id, ActivePolicy(one.name, one.parameters, one.reason, one.author, one.created_at))
        for one in rows
    ]


def constraint_groups(bounds: tiers.Bounds = ()) -> GroupSet:
    """Return the groups of every job that has not finished, waiting and paused ones too.

    Not of open rounds only: then groups would come and go, and all devices be signed again,
    between the rounds of one job.
    """
    rows = (
        Job.objects.exclude(status=Job.Status.FINISHED)
        .order_by("constraint_group")
        .distinct("constraint_group")
        .values_list("constraint_group", "spec__effective")
    )
    pairs = list(rows)
    names = [group for group, _ in pairs] + [f"~{bound}" for bound in bounds]
    version = hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]
    effective = [one for _, one in pairs]
    told: dict[str, Any] = {"version": version, "groups": effective}
    if bounds:
        told["tiers"] = bounds
    groups = tuple(Group.of(one) for one in effective)
    return GroupSet(version, groups, json.dumps(told), bounds)


def shares(tenant_ids: Iterable[UUID]) -> dict[UUID, TenantShare]:
    """Return the shares that were set, by tenant."""
    return {row.tenant_id: row for row in TenantShare.objects.filter(tenant__in=set(tenant_ids))}


def shares_in_force(tenant_ids: Iterable[UUID]) -> dict[UUID, TenantShare]:
    """Return the shares of tenants, and those that bind others: of who limits what it lends."""
    theirs = Q(tenant__in=set(tenant_ids))
    rows = TenantShare.objects.filter(theirs | Q(lending_limit__lt=F("guarantee")))
    return {row.tenant_id: row for row in rows}


def bound_under(record: PlanRecord, *, limit: int = 100) -> list[Assignment]:
    """Return assignments that were bound under a recorded plan, or before the next record."""
    later = PlanRecord.objects.filter(version__gt=record.version).order_by("version").first()
    rows = Assignment.objects.filter(plan_version__gte=record.version, bound_at__gte=record.at)
    if later is not None:
        rows = rows.filter(plan_version__lt=later.version)
    return list(rows.select_related("round", "job").order_by("id")[:limit])


def record_behind(assignment: Assignment) -> PlanRecord | None:
    """Return the recorded plan that an assignment was bound under, or the last one before it."""
    rows = PlanRecord.objects.filter(version__lte=assignment.plan_version)
    return rows.order_by("-version").first()


def plan_state() -> PlanState | None:
    """Return which plan gateways work by; None while Redis has none."""
    found: list[Any] = connections.soft_state().hmget(keys.PLAN, "version", "policy", "at")
    version, policy, at = found
    if version is None or policy is None or at is None:
        return None
    return PlanState(int(version), policy.decode(), datetime.fromtimestamp(int(at) / 1000, UTC))


def counters() -> dict[str, int]:
    """Return running totals since Redis was last emptied: ``granted`` slots and ``plans``."""
    found: dict[Any, Any] = connections.soft_state().hgetall(keys.COUNTERS)
    return {name.decode(): int(value) for name, value in found.items()}
