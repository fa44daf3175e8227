"""The census: which devices there are, counted by profile, for admission and forecasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Coalesce

from clients.models import Device
from clients.selectors import ONLINE_WITHIN
from jobs.constraints import Group, Profile

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Eligible:
    """Devices that meet a job's public constraints.

    ``known`` are enrolled and not revoked, ``day`` of them were there within the last day,
    ``online`` within the last minute.
    """

    known: int = 0
    day: int = 0
    online: int = 0

    def __add__(self, other: Eligible) -> Eligible:
        """Add up."""
        return Eligible(self.known + other.known, self.day + other.day, self.online + other.online)

    def share(self, fraction: float) -> Eligible:
        """Return how many of them a share is; who is held out is by chance, so about so many."""
        return Eligible(*(round(one * fraction) for one in (self.known, self.day, self.online)))


@dataclass(frozen=True, slots=True)
class Census:
    """All active devices, by profile. Answers are kept, so ask one census for many jobs."""

    profiles: tuple[tuple[Profile, Eligible], ...]
    _found: dict[str, Eligible] = field(default_factory=dict)

    def eligible(self, group: Group) -> Eligible:
        """Count the devices that ``group`` admits; linear in the profiles, once a group."""
        found = self._found.get(group.id)
        if found is None:
            admitted = (count for profile, count in self.profiles if group.admits(profile))
            found = self._found[group.id] = sum(admitted, Eligible())
        return found


def take(*, now: datetime) -> Census:
    """Count all active devices in one statement; for the system only."""
    return Census(tuple(_counted(now)))


def of_attributes(names: Iterable[str], *, pools: Iterable[str], now: datetime) -> Census:
    """Count the active devices of ``pools`` by these attributes alone; for the system only.

    Profiles are many, the values that constraints name are few; so this costs much less.
    """
    asked = sorted(names)
    rows = (
        _there(now)
        .filter(pool_id__in=list(pools))
        .annotate(**{f"a{at}": KeyTransform(one, "attributes") for at, one in enumerate(asked)})
        .values_list("pool_id", *(f"a{at}" for at in range(len(asked))))
    )
    found = []
    for pool_id, *values, known, day, online in _grouped(rows, now):
        attributes = {
            name: value for name, value in zip(asked, values, strict=True) if value is not None
        }
        found.append((Profile(attributes, {}, str(pool_id)), Eligible(known, day, online)))
    return Census(tuple(found))


def _counted(now: datetime) -> Iterator[tuple[Profile, Eligible]]:
    rows = _there(now).values_list("attributes", "workloads", "pool_id")
    counted = _grouped(rows, now).iterator(chunk_size=5_000)
    for attributes, workloads, pool_id, known, day, online in counted:
        yield Profile(attributes, workloads, str(pool_id)), Eligible(known, day, online)


def _there(now: datetime) -> QuerySet[Device]:
    # A device that has just enrolled is as good as seen.
    active = Device.objects.filter(status=Device.Status.ACTIVE)
    return active.annotate(there_at=Coalesce("seen_at", "enrolled_at")).order_by()


def _grouped(rows: QuerySet[Device, Any], now: datetime) -> QuerySet[Device, Any]:
    return rows.annotate(
        known=Count("id"),
        day=Count("id", filter=Q(there_at__gt=now - DAY)),
        online=Count("id", filter=Q(seen_at__gt=now - ONLINE_WITHIN)),
    )
