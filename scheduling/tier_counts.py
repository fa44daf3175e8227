"""Devices by speed tier, now and over the day; of shared pools no small count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from clients import telling
from clients.models import Pool
from clients.selectors import PoolCount
from jobs.fleet import Figure, of_pool, total
from scheduling.models import PoolMinute


@dataclass(frozen=True, slots=True)
class Tier:
    """Devices of one speed class; ``least`` is the CPU score from which it counts."""

    number: int
    least: float
    idle: Figure
    bound: Figure

    @property
    def online(self) -> Figure:
        """Those that are connected."""
        return total((self.idle, self.bound))


@dataclass(frozen=True, slots=True)
class TierStretch:
    """Devices by tier in the last minute of a quarter of an hour from ``at`` on."""

    at: datetime
    tiers: Sequence[Tier]


def by_tier(rows: Sequence[PoolMinute], pools: Mapping[UUID, Pool], tenant_id: UUID) -> list[Tier]:
    """Add up the tiers of pools in one minute; of those whose tiers are the same."""
    scores = max(([one[0] for one in row.tiers] for row in rows), key=len, default=[])
    alike = [
        _of_pool(row, pools[row.pool_id], tenant_id)
        for row in rows
        if [one[0] for one in row.tiers] == scores
    ]
    return [
        Tier(
            number=at + 1,
            least=score,
            idle=total(idle[at] for idle, _ in alike),
            bound=total(bound[at] for _, bound in alike),
        )
        for at, score in enumerate(scores)
    ]


def over_day(
    rows: Iterable[PoolMinute],
    pools: Mapping[UUID, Pool],
    tenant_id: UUID,
    *,
    since: datetime,
    step: timedelta,
) -> list[TierStretch]:
    """Return tiers by ``step`` since then, those without a count left out."""
    found: dict[datetime, list[PoolMinute]] = {}
    for row in rows:
        found.setdefault(since + (row.at - since) // step * step, []).append(row)
    return [TierStretch(at, by_tier(of, pools, tenant_id)) for at, of in sorted(found.items())]


def _of_pool(row: PoolMinute, pool: Pool, tenant_id: UUID) -> tuple[list[Figure], list[Figure]]:
    """Return the figures of each tier of a pool, idle and at work, as they may be told.

    How many are idle and at work in all is told too, hence each is split.
    """
    bound = [held for _, _, held in row.tiers]
    idle = [max(0, online - held) for _, online, held in row.tiers]
    if not pool.is_shared:
        return [Figure(own=one) for one in idle], [Figure(own=one) for one in bound]
    mine, _ = row.by_tenant.get(str(tenant_id), (0, 0))
    now = of_pool(PoolCount(pool.id, "", True, row.devices, row.online), row.bound, mine)
    return _told(idle, now.idle), _told(bound, now.bound)


def _told(counts: Sequence[int], whole: Figure) -> list[Figure]:
    told = telling.split(counts, whole.bounds)
    return [Figure(shared=count, told=one) for count, one in zip(counts, told, strict=True)]
