"""How many devices fit, as a tenant may know it: of shared pools, bounds where counts are small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


def of_constraints(
    *, tenant_id: UUID, public: Mapping[str, Any], pools: list[str], now: datetime
) -> Fitting:
    """Count the devices that meet public constraints, whatever they can run. Raises SpecInvalid."""
    conditions, chosen = job_services.conditions(tenant_id=tenant_id, public=public, pools=pools)
    parsed = constraints.parse(conditions)
    with system_scope():
        fleet = census.take(now=now)

    def admits(profile: Profile) -> bool:
        return constraints.matches(parsed, profile.attributes)

    return fitting(tenant_id, fleet, chosen, admits)


def of_group(tenant_id: UUID, fleet: Census, group: Group) -> Fitting:
    """Count the devices that a job's group admits."""
    return fitting(tenant_id, fleet, group.pools, group.admits)


def fitting(
    tenant_id: UUID, fleet: Census, pools: Iterable[str], admits: Callable[[Profile], bool]
) -> Fitting:
    """Count by ``admits`` within ``pools``: own devices exactly, those of shared pools as told."""
    usable = {str(one.id): one.is_shared for one in client_selectors.pools_for(tenant_id)}
    sums = {True: [Eligible(), Eligible()], False: [Eligible(), Eligible()]}
    for profile, count in fleet.profiles:
        if profile.pool_id not in pools or profile.pool_id not in usable:
            continue
        total = sums[usable[profile.pool_id]]
        total[0] += count
        if admits(profile):
            total[1] += count
    (every, fit), (own_every, own) = sums[True], sums[False]
    shared = telling.within([every.known, fit.known, fit.day, fit.online])
    mine = [own_every.known, own.known, own.day, own.online]
    return Fitting(*(one.plus(known) for one, known in zip(shared, mine, strict=True)))
