"""Quotas: how much a tenant may have in all, how much it has, and what that leaves."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from jobs import selectors as job_selectors
from jobs import usage as job_usage
from scheduling.models import TenantQuota, TenantShare
from tenants import selectors as tenant_selectors

WHOLE_TENANT = ("quota_jobs", "quota_device_hours", "quota_stored_bytes")
"""Reasons that hold for every further job of a tenant."""
SPENT_FOR_S = 10
"""So long a look at the month's device-hours is good: whoever passes the quota, passes by that."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant has now; ``device_hours`` since the calendar month began (UTC)."""

    jobs: int
    devices: int
    device_hours: float
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Excess:
    """A bound that a tenant is past: a code, words, and the two numbers."""

    code: str
    text: str
    used: float
    allowed: float


def quota_of(tenant_id: UUID) -> TenantQuota | None:
    """Return a tenant's quota, if it has one."""
    return TenantQuota.objects.filter(tenant_id=tenant_id).first()


def month_began(now: datetime) -> datetime:
    """Return the first moment of the calendar month of ``now``."""
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def usage(tenant_id: UUID, *, now: datetime) -> Usage:
    """Return what a tenant uses of its quota."""
    return usages([tenant_id], now=now)[tenant_id]


def usages(tenant_ids: Collection[UUID], *, now: datetime) -> dict[UUID, Usage]:
    """Return what each tenant uses of its quota, with as many queries for many as for one.

    The month's device-hours are up to ``SPENT_FOR_S`` seconds old, all else as of now.
    """
    hours = _hours(tenant_ids, now)
    jobs = job_usage.admitted_jobs(tenant_ids)
    devices = job_selectors.bound_by_tenant()
    stored = tenant_selectors.stored_bytes(tenant_ids)
    return {
        one: Usage(
            jobs=jobs.get(one, 0),
            devices=devices.get(one, 0),
            device_hours=hours.get(one, 0.0),
            stored_bytes=stored.get(one, 0),
        )
        for one in tenant_ids
    }


def excess(quota: TenantQuota, used: Usage, *, ahead: int = 0) -> Excess | None:
    """Return the first bound that one more job would be past.

    ``ahead`` jobs of the tenant wait for the same and go first.
    """
    if quota.jobs is not None and used.jobs + ahead >= quota.jobs:
        text = f"{used.jobs} of the {quota.jobs} jobs that its quota allows have not finished"
        if ahead:
            text += f", and {ahead} submitted earlier wait"
        return Excess("quota_jobs", text, used.jobs, quota.jobs)
    if quota.device_hours is not None and used.device_hours >= quota.device_hours:
        text = (
            f"its tenant has used {used.device_hours:.1f} of the {quota.device_hours:g} "
            "device-hours of this month"
        )
        hours = round(used.device_hours, 2)
        return Excess("quota_device_hours", text, hours, quota.device_hours)
    if quota.stored_bytes is not None and used.stored_bytes > quota.stored_bytes:
        text = f"its tenant stores {used.stored_bytes} of the {quota.stored_bytes} bytes allowed"
        return Excess("quota_stored_bytes", text, used.stored_bytes, quota.stored_bytes)
    return None


def devices_at_once(share: TenantShare | None, quota: TenantQuota | None) -> int | None:
    """Return how many devices a tenant may hold: the lower of its ceiling and its quota."""
    bounds = (share.ceiling if share else None, quota.devices if quota else None)
    return min((one for one in bounds if one is not None), default=None)


def caps(tenant_ids: Iterable[UUID], *, now: datetime) -> dict[UUID, int]:
    """Return the devices at once that quotas leave to tenants; 0 once the month is spent."""
    quotas = TenantQuota.objects.filter(tenant__in=set(tenant_ids))
    found: dict[UUID, int] = {}
    metered: dict[UUID, float] = {}
    for one in quotas:
        if one.devices is not None:
            found[one.tenant_id] = one.devices
        if one.device_hours is not None:
            metered[one.tenant_id] = one.device_hours
    if metered:
        hours = _hours(metered, now)
        found |= {one: 0 for one, bound in metered.items() if hours.get(one, 0.0) >= bound}
    return found


def _hours(tenant_ids: Iterable[UUID], now: datetime) -> dict[UUID, float]:
    """Return the month's device-hours of tenants as of the last full ``SPENT_FOR_S``."""
    at = now.replace(second=now.second - now.second % SPENT_FOR_S, microsecond=0)
    return _summed(frozenset(tenant_ids), month_began(now), at)


@functools.lru_cache(maxsize=64)
def _summed(tenant_ids: frozenset[UUID], since: datetime, at: datetime) -> dict[UUID, float]:
    # Planner and pages ask several times a second; the month's sum needs all of its assignments.
    seconds = job_usage.device_seconds(tenant_ids, since=since, now=at)
    return {tenant_id: one / 3_600 for tenant_id, one in seconds.items()}
