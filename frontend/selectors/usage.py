"""What a tenant has used, summed by day, job and member, against its quota."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from aggregation import usage
from aggregation.usage import Line
from frontend import words
from scheduling import quotas

PERIODS = (7, 30, 90)
ROWS = 50


@dataclass(frozen=True, slots=True)
class Sum:
    """Use under one heading; ``percent`` of the largest one's device-hours, for its bar."""

    key: object
    label: str
    rounds: int
    reported: int
    device_hours: float
    down_bytes: int
    up_bytes: int
    percent: float = 0.0

    @property
    def day(self) -> date:
        """The day that it sums up, if it does."""
        assert isinstance(self.key, date)
        return self.key


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound of the tenant's quota and how much of it is used."""

    name: str
    used: float
    allowed: float | None
    is_bytes: bool = False

    @property
    def percent(self) -> float:
        """How full it is, at most 100."""
        if not self.allowed:
            return 100.0 if self.allowed == 0 else 0.0
        return min(100.0, 100 * self.used / self.allowed)


@dataclass(frozen=True, slots=True)
class UsagePage:
    """What the page shows."""

    days: int
    total: Sum
    by_day: list[Sum]
    by_job: list[Sum]
    by_member: list[Sum]
    bounds: list[Bound]


def page(*, tenant_id: UUID, days: int, now: datetime) -> UsagePage:
    """Return the use of the last ``days`` days; days without any are there too."""
    found = usage.lines(days=days, now=now)
    today = now.astimezone(UTC).date()
    by_day = {one.key: one for one in _summed(found, lambda one: (one.day, str(one.day)))}
    every = [today - timedelta(days=back) for back in range(days - 1, -1, -1)]
    return UsagePage(
        days=days,
        total=_sum(None, "", found),
        by_day=[by_day.get(day) or _sum(day, str(day), []) for day in every],
        by_job=_cut(_summed(found, lambda one: (one.job_id, one.job)), "job"),
        by_member=_cut(_summed(found, lambda one: (one.member, one.member)), "member"),
        bounds=_bounds(tenant_id, now),
    )


def _bounds(tenant_id: UUID, now: datetime) -> list[Bound]:
    used, quota = quotas.usage(tenant_id, now=now), quotas.quota_of(tenant_id)
    return [
        Bound("Jobs at once", used.jobs, quota.jobs if quota else None),
        Bound("Devices at once", used.devices, quota.devices if quota else None),
        Bound("Device-hours this month", used.device_hours, quota.device_hours if quota else None),
        Bound("Stored", used.stored_bytes, quota.stored_bytes if quota else None, is_bytes=True),
    ]


def _summed(found: Sequence[Line], key: Callable[[Line], tuple[object, str]]) -> list[Sum]:
    groups: dict[tuple[object, str], list[Line]] = {}
    for one in found:
        groups.setdefault(key(one), []).append(one)
    sums = [_sum(name, label, lines) for (name, label), lines in groups.items()]
    most = max((one.device_hours for one in sums), default=0.0)
    ordered = sorted(sums, key=lambda one: one.device_hours, reverse=True)
    return [_with_bar(one, most) for one in ordered]


def _cut(sums: list[Sum], noun: str) -> list[Sum]:
    """Return those of the most use, and what all others come to, so that they add up."""
    rest = sums[ROWS:]
    if not rest:
        return sums
    more = Sum(
        key=None,
        label=f"and {words.count(len(rest), f'more {noun}')}",
        rounds=sum(one.rounds for one in rest),
        reported=sum(one.reported for one in rest),
        device_hours=sum(one.device_hours for one in rest),
        down_bytes=sum(one.down_bytes for one in rest),
        up_bytes=sum(one.up_bytes for one in rest),
    )
    return [*sums[:ROWS], more]


def _sum(key: object, label: str, found: Sequence[Line]) -> Sum:
    return Sum(
        key=key,
        label=label,
        rounds=sum(one.rounds for one in found),
        reported=sum(one.reported for one in found),
        device_hours=sum(one.device_seconds for one in found) / 3_600,
        down_bytes=sum(one.down_bytes for one in found),
        up_bytes=sum(one.up_bytes for one in found),
    )


def _with_bar(one: Sum, most: float) -> Sum:
    percent = 100 * one.device_hours / most if most else 0.0
    return replace(one, percent=round(percent, 1))
