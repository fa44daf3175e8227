"""How many devices fit, as a tenant may know it: of shared pools, bounds where counts are small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from clients import selectors as client_selectors
from clients import telling
from clients.telling import Told
from jobs import services as job_services
from jobs.constraints import Group, Profile
from propius import constraints
from scheduling import census
from scheduling.census import Census, Eligible
from tenants.scopes import system_scope

Admits = Callable[[Profile], bool]


@dataclass(frozen=True, slots=True)
class Fitting:
    """Devices of the pools in question: all that there are, and those that fit.

    ``known`` are enrolled and not revoked, ``day`` of them were there within the last day,
    ``online`` within the last minute.
    """

    devices: Told
    known: Told
    day: Told
    online: Told


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Devices of the pools in question, and how few terms leave of them, one after the other.

    ``left`` has a count a term: of those known that meet it and all before it. ``day`` and
    ``online`` are parts of the last.
    """

    devices: Told
    left: Sequence[Told]
    day: Told
    online: Told


def of_constraints(
    *, tenant_id: UUID, public: Mapping[str, Any], pools: list[str], now: datetime
) -> Fitting:
    """Count the devices that meet public constraints, whatever they can run. Raises SpecInvalid."""
    conditions, chosen = job_services.conditions(tenant_id=tenant_id, public=public, pools=pools)
    admits = _meets(conditions)
    with system_scope():
        fleet = census.of_attributes(conditions, pools=chosen, now=now)
    return fitting(tenant_id, fleet, chosen, admits)


def narrowing(
    *,
    tenant_id: UUID,
    public: Mapping[str, Any],
    terms: Sequence[Mapping[str, Any]],
    pools: list[str],
    now: datetime,
) -> Narrowing:
    """Count the devices that meet public constraints, term by term: ``terms`` are their parts.

    All counts of the answer stand side by side, so each is told as part of the one before it, and
    who is online so that it may stand beside the page of devices.
    Raises SpecInvalid.
    """
    names, chosen = job_services.conditions(tenant_id=tenant_id, public=public, pools=pools)
    steps = [_meets(one) for one in terms]
    with system_scope():
        fleet = census.of_attributes(names, pools=chosen, now=now)
    devices, *left, day, online = _told(tenant_id, fleet, chosen, steps)
    return Narrowing(devices, left, day, online)


def of_group(tenant_id: UUID, fleet: Census, group: Group) -> Fitting:
    """Count the devices that a job's group admits."""
    return fitting(tenant_id, fleet, group.pools, group.admits)


def fitting(tenant_id: UUID, fleet: Census, pools: Iterable[str], admits: Admits) -> Fitting:
    """Count by ``admits`` within ``pools``: own devices exactly, those of shared pools as told."""
    return Fitting(*_told(tenant_id, fleet, pools, [admits]))


def _meets(public: Mapping[str, Any]) -> Admits:
    parsed = constraints.parse(public)
    return lambda profile: constraints.matches(parsed, profile.attributes)


def _told(
    tenant_id: UUID, fleet: Census, pools: Iterable[str], steps: Sequence[Admits]
) -> list[Told]:
    """Tell all devices, those known that each step leaves, and of the last the day's and online."""
    usable = {str(one.id): one.is_shared for one in client_selectors.pools_for(tenant_id)}
    within = usable.keys() & set(pools)
    sums = {is_shared: [Eligible()] * (len(steps) + 1) for is_shared in (True, False)}
    for profile, count in fleet.profiles:
        if profile.pool_id not in within:
            continue
        total = sums[usable[profile.pool_id]]
        total[0] += count
        for at, admits in enumerate(steps, start=1):
            if not admits(profile):
                break
            total[at] += count
    *known, day, online = telling.within(_chain(sums[True]))
    told = [*known, day, telling.passing(online, whole=known[-1])]
    return [one.plus(own) for one, own in zip(told, _chain(sums[False]), strict=True)]


def _chain(sums: Sequence[Eligible]) -> list[int]:
    """Return counts each of which is part of the one before it."""
    return [*(one.known for one in sums), sums[-1].day, sums[-1].online]
