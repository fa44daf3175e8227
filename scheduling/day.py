"""The fleet over the last day: who was online, idle and at work, and how much was asked for."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from clients import selectors as client_selectors
from clients.models import Pool
from clients.selectors import PoolCount
from jobs.fleet import Figure, of_pool, total
from scheduling import sampling, tier_counts
from scheduling.sampling import Sample
from scheduling.tier_counts import Tier, TierStretch
from tenants.scopes import system_scope

DAY = timedelta(days=1)
STEP = timedelta(minutes=15)
FRESH = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Devices on average over a quarter of an hour from ``at`` on, as a tenant may know them.

    ``bound`` were at work, ``online`` connected, and ``asked`` is what rounds asked for: devices
    at work, and slots that waited for one.
    """

    at: datetime
    mine: Figure
    others: Figure
    idle: Figure
    bound: Figure
    online: Figure
    asked: Figure


@dataclass(frozen=True, slots=True)
class Share:
    """A share of devices at work; not exact where counts behind it are hidden."""

    percent: int
    is_exact: bool


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """The last day in quarters of an hour, those without a count left out, and tiers now.

    One is equal only to itself, so that what is made of it can be kept beside it.
    """

    since: datetime
    until: datetime
    stretches: Sequence[Stretch]
    tiers: Sequence[Tier]
    by_tier: Sequence[TierStretch]

    @property
    def average(self) -> Share | None:
        """How much of the time of connected devices was work, over the whole day."""
        return share(self.stretches)

    @property
    def newest(self) -> Share | None:
        """The same of the newest quarter of an hour."""
        return share(self.stretches[-1:])


def share(stretches: Sequence[Stretch]) -> Share | None:
    """Return which part of the connected devices was at work, if any was connected."""
    online = sum(one.online.drawn for one in stretches)
    bound = sum(one.bound.drawn for one in stretches)
    if not online:
        return None
    hidden = any(one.bound.is_hidden or one.online.is_hidden for one in stretches)
    return Share(min(100, round(100 * bound / online)), not hidden)


def day(*, tenant_id: UUID, now: datetime) -> Day:
    """Return the last day of the pools that a tenant may use.

    Looked up once a minute and process: nothing is counted more often.
    """
    return _day(tenant_id, now.replace(second=0, microsecond=0))


@functools.lru_cache(maxsize=256)
def _day(tenant_id: UUID, minute: datetime) -> Day:
    # Whole quarters, so that a bar stands still until the day moves on by one.
    until = minute.replace(minute=minute.minute - minute.minute % 15) + STEP
    since = until - DAY
    pools = {one.id: one for one in client_selectors.pools_for(tenant_id)}
    with system_scope():
        samples = sampling.averages(
            tenant_id=tenant_id, pools=pools, since=since, until=until, step=STEP
        )
        by_step = sampling.last_of_each(pools=pools, since=since, until=until, step=STEP)
        newest = sampling.newest(pools=pools, since=minute - FRESH)
    by_time: dict[datetime, list[Sample]] = {}
    for one in samples:
        by_time.setdefault(one.at, []).append(one)
    stretches = [_stretch(at, found, pools) for at, found in sorted(by_time.items())]
    return Day(
        since,
        until,
        stretches,
        tiers=tier_counts.by_tier(newest, pools, tenant_id),
        by_tier=tier_counts.over_day(by_step, pools, tenant_id, since=since, step=STEP),
    )


def _stretch(at: datetime, samples: Sequence[Sample], pools: dict[UUID, Pool]) -> Stretch:
    found = [
        of_pool(
            PoolCount(one.pool_id, "", pools[one.pool_id].is_shared, one.devices, one.online),
            one.bound,
            one.mine,
        )
        for one in samples
    ]
    mine = Figure(own=sum(one.mine for one in found))
    others, idle = total(one.others for one in found), total(one.idle for one in found)
    bound = total((mine, others))
    return Stretch(
        at=at,
        mine=mine,
        others=others,
        idle=idle,
        bound=bound,
        online=total((bound, idle)),
        # Of a private pool only the tenant's own rounds want devices.
        asked=total((bound, Figure(own=sum(one.wanted for one in samples)))),
    )
