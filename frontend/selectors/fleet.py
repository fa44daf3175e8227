"""How many devices there are and what they do; of shared pools only counts, small ones hidden."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count

from clients import selectors as client_selectors
from clients.selectors import SMALL
from jobs.models import Assignment
from tenants.scopes import system_scope


@dataclass(frozen=True, slots=True)
class Figure:
    """A count, part of it of shared pools; a small shared part is not told."""

    own: int = 0
    shared: int = 0

    @property
    def is_hidden(self) -> bool:
        """Tell whether the shared part is too small to tell."""
        return 0 < self.shared < SMALL

    @property
    def text(self) -> str:
        """The figure as shown: exact, or only what it is below."""
        if self.is_hidden:
            return f"<{self.own + SMALL}"
        return f"{self.own + self.shared:,}".replace(",", "\u202f")

    @property
    def drawn(self) -> float:
        """The figure as drawn; a hidden one has always the same length."""
        return self.own + (SMALL / 2 if self.is_hidden else self.shared)

    def __bool__(self) -> bool:
        return self.own + self.shared > 0

    def __add__(self, other: Figure) -> Figure:
        return Figure(self.own + other.own, self.shared + other.shared)


@dataclass(frozen=True, slots=True)
class PoolNow:
    """One pool and what its devices do."""

    id: UUID
    name: str
    is_shared: bool
    devices: Figure
    online: Figure
    bound: Figure


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
    counts = client_selectors.pool_counts(tenant_id=tenant_id, now=now)
    bound, mine = _bound([one.pool_id for one in counts], tenant_id)
    pools = [
        PoolNow(
            id=one.pool_id,
            name=one.name,
            is_shared=one.is_shared,
            devices=_figure(one.devices, shared=one.is_shared),
            online=_figure(one.online, shared=one.is_shared),
            bound=_figure(bound.get(one.pool_id, 0), shared=one.is_shared),
        )
        for one in counts
    ]
    devices = _sum(pool.devices for pool in pools)
    online = _sum(pool.online for pool in pools)
    working = _sum(pool.bound for pool in pools)
    return Fleet(pools, devices, online, _segments(devices, online, working, mine))


def _figure(number: int, *, shared: bool) -> Figure:
    return Figure(shared=number) if shared else Figure(own=number)


def _sum(figures: Iterable[Figure]) -> Figure:
    return sum(figures, Figure())


def _bound(pools: list[UUID], tenant_id: UUID) -> tuple[dict[UUID, int], int]:
    """Count bound devices by pool, whoever works with them; and those that work for us."""
    held = Assignment.objects.filter(status=Assignment.Status.BOUND)
    with system_scope():
        rows = (
            held.filter(device__pool_id__in=pools)
            .values_list("device__pool_id")
            .annotate(devices=Count("id"))
        )
        by_pool: dict[UUID, int] = dict(rows)
    return by_pool, held.filter(tenant_id=tenant_id).count()


def _segments(devices: Figure, online: Figure, working: Figure, mine: int) -> list[Segment]:
    others = max(0, working.own + working.shared - mine)
    # A bound device may have lost its connection for a moment: then nothing is idle beyond it.
    idle = _minus(online, working)
    offline = _minus(_minus(devices, working), idle)
    parts = [
        ("mine", "working for you", Figure(own=mine)),
        ("others", "working for others", Figure(shared=others)),
        ("idle", "idle, connected", idle),
        ("offline", "not connected", offline),
    ]
    whole = sum(figure.drawn for _, _, figure in parts) or 1.0
    segments, start = [], 0.0
    for kind, label, figure in parts:
        width = round(100 * figure.drawn / whole, 2)
        segments.append(Segment(kind, label, figure, round(start, 2), width))
        start += width
    return segments


def _minus(whole: Figure, part: Figure) -> Figure:
    return Figure(max(0, whole.own - part.own), max(0, whole.shared - part.shared))
