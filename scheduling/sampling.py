"""What devices do, kept once a minute by pool: for charts of the last day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, FilteredRelation, Q
from django.db.models.fields.json import KeyTransform

from clients.models import Device, Pool
from clients.selectors import ONLINE_WITHIN
from jobs import selectors as job_selectors
from jobs.models import Assignment
from scheduling import planning, supply, tiers
from scheduling.models import PoolMinute

KEPT = timedelta(days=2)

_BINS = """
    SELECT pool_id, date_bin(make_interval(secs => %(step)s), at, %(since)s),
        avg(devices), avg(online), avg(bound),
        avg(coalesce((by_tenant #>> ARRAY[%(tenant)s, '0'])::int, 0)), avg(wanted),
        avg(coalesce((by_tenant #>> ARRAY[%(tenant)s, '1'])::int, 0))
    FROM scheduling_poolminute
    WHERE pool_id = ANY(%(pools)s) AND at >= %(since)s AND at < %(until)s
    GROUP BY 1, 2 ORDER BY 2, 1
"""


_LAST = """
    SELECT DISTINCT ON (date_bin(make_interval(secs => %(step)s), at, %(since)s), pool_id) *
    FROM scheduling_poolminute
    WHERE pool_id = ANY(%(pools)s) AND at >= %(since)s AND at < %(until)s AND tiers <> '[]'
    ORDER BY date_bin(make_interval(secs => %(step)s), at, %(since)s), pool_id, at DESC
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """Devices of a pool over some minutes from ``at`` on, on average; ``mine`` are a tenant's."""

    pool_id: UUID
    at: datetime
    devices: int
    online: int
    bound: int
    mine: int
    wanted: int
    wanted_mine: int


def sample(*, now: datetime) -> int:
    """Keep this minute of every pool, unless it is kept; returns how many rows it wrote."""
    at = now.replace(second=0, microsecond=0)
    if PoolMinute.objects.filter(at=at).exists():
        return 0
    rows = _counted(at, now)
    PoolMinute.objects.bulk_create(rows, ignore_conflicts=True)
    PoolMinute.objects.filter(at__lt=now - KEPT).delete()
    return len(rows)


def averages(
    *, tenant_id: UUID, pools: Iterable[UUID], since: datetime, until: datetime, step: timedelta
) -> list[Sample]:
    """Return the averages of each ``step`` that has minutes, oldest first; for the system only.

    ``tenant_id`` is whose part is told apart.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _BINS,
            {
                "tenant": str(tenant_id), "pools": list(pools), "since": since, "until": until,
                "step": step.total_seconds(),
            },
        )  # fmt: skip
        return [Sample(one, at, *map(round, counts)) for one, at, *counts in cursor.fetchall()]


def last_of_each(
    *, pools: Iterable[UUID], since: datetime, until: datetime, step: timedelta
) -> list[PoolMinute]:
    """Return the last minute of each ``step`` that told of tiers, oldest first; for the system."""
    asked = {
        "pools": list(pools), "since": since, "until": until, "step": step.total_seconds(),
    }  # fmt: skip
    return list(PoolMinute.objects.raw(_LAST, asked))


def newest(*, pools: Iterable[UUID], since: datetime) -> list[PoolMinute]:
    """Return the newest minute of each pool, none from before ``since``; for the system only."""
    rows = PoolMinute.objects.filter(pool_id__in=list(pools), at__gte=since)
    return list(rows.order_by("pool_id", "-at").distinct("pool_id"))


def _counted(at: datetime, now: datetime) -> list[PoolMinute]:
    active = Q(devices__status=Device.Status.ACTIVE)
    online = active & Q(devices__seen_at__gt=now - ONLINE_WITHIN)
    pools = Pool.objects.annotate(
        total=Count("devices", filter=active), up=Count("devices", filter=online)
    )
    parts = _by_tenant()
    of_tiers = _by_tier(now)
    return [
        PoolMinute(
            tenant_id=pool.tenant_id,
            pool=pool,
            at=at,
            devices=pool.total,
            online=pool.up,
            bound=sum(bound for bound, _ in parts[pool.id].values()),
            wanted=sum(wanted for _, wanted in parts[pool.id].values()),
            by_tenant={str(tenant): part for tenant, part in parts[pool.id].items()},
            tiers=of_tiers.get(pool.id, []),
        )
        for pool in pools
    ]


def _by_tenant() -> Mapping[UUID, dict[UUID, list[int]]]:
    """Count by pool and tenant the devices that are bound, and the slots that wait for one."""
    found: dict[UUID, dict[UUID, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    held = Assignment.objects.filter(status=Assignment.Status.BOUND).order_by()
    rows = held.values_list("device__pool_id", "tenant_id").annotate(Count("id"))
    for pool_id, tenant_id, count in rows:
        found[pool_id][tenant_id][0] = count
    shared = set(Pool.objects.filter(tenant=None).values_list("id", flat=True))
    for one in job_selectors.open_rounds():
        pools = [UUID(pool) for pool in one.effective["pools"]]
        if pools and one.remaining:
            pool_id = next((pool for pool in pools if pool in shared), pools[0])
            found[pool_id][one.tenant_id][1] += one.remaining
    return found


def _by_tier(now: datetime) -> dict[UUID, list[tuple[float, int, int]]]:
    """Count by pool and speed tier the devices that are online and bound, where tiers exist."""
    bounds = supply.tiers_told(getattr(planning.active(), "tiers", 1))
    if not bounds:
        return {}
    rows: Any = (
        Device.objects.filter(status=Device.Status.ACTIVE, seen_at__gt=now - ONLINE_WITHIN)
        .annotate(
            held=FilteredRelation("assignment", condition=Q(assignment__status="bound")),
            score=KeyTransform(tiers.SCORE, "attributes"),
        )
        .order_by()
        .values_list("pool_id", "score")
        .annotate(online=Count("id"), bound=Count("held"))
    )
    online: Counter[tuple[UUID, int]] = Counter()
    bound: Counter[tuple[UUID, int]] = Counter()
    for pool_id, score, up, held in rows:
        tier = tiers.tier_of(tiers.speed_of({tiers.SCORE: score}), bounds)
        online[pool_id, tier] += up
        bound[pool_id, tier] += held
    least = [round(tiers.score_of(one), 2) for one in bounds] + [0.0]
    return {
        pool_id: [
            (score, online[pool_id, tier], bound[pool_id, tier]) for tier, score in enumerate(least)
        ]
        for pool_id in {pool_id for pool_id, _ in online}
    }
