"""The bar of the fleet: what the devices do that a tenant may use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from jobs.fleet import Figure, PoolNow, pools_now, total


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of the bar of the fleet, in hundredths of it."""

    kind: str
    label: str
    figure: Figure
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """All pools that a tenant may use."""

    pools: list[PoolNow]
    devices: Figure
    online: Figure
    segments: list[Segment]


def fleet(*, tenant_id: UUID, now: datetime) -> Fleet:
    """Return the fleet as a tenant may see it."""
    pools = pools_now(tenant_id=tenant_id, now=now)
    return Fleet(
        pools,
        total(pool.devices for pool in pools),
        total(pool.online for pool in pools),
        _segments(pools),
    )


def _segments(pools: list[PoolNow]) -> list[Segment]:
    parts = [
        ("mine", "working for you", Figure(own=sum(pool.mine for pool in pools))),
        ("others", "working for others", total(pool.others for pool in pools)),
        ("idle", "idle, connected", total(pool.idle for pool in pools)),
        ("offline", "not connected", total(pool.offline for pool in pools)),
    ]
    whole = sum(figure.drawn for _, _, figure in parts) or 1.0
    segments, start = [], 0.0
    for kind, label, figure in parts:
        width = round(100 * figure.drawn / whole, 2)
        segments.append(Segment(kind, label, figure, round(start, 2), width))
        start += width
    return segments
