"""How many devices there are and what they do; of shared pools only counts, small ones hidden."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Q

from clients import selectors as client_selectors
from clients import telling
from clients.selectors import PoolCount
from clients.telling import Told
from jobs.models import Assignment
from tenants.scopes import system_scope


@dataclass(frozen=True, slots=True)
class Figure:
    """A count, part of it of shared pools; a small shared part is not told.

    ``told`` bounds the shared part where what stands beside it would give it away.
    """

    own: int = 0
    shared: int = 0
    told: Told | None = None

    @property
    def bounds(self) -> Told:
        """The shared part as it may be told."""
        return telling.alone(self.shared) if self.told is None else self.told

    @property
    def least(self) -> int:
        """The least that the figure may be, as told."""
        return self.own + self.bounds.least

    @property
    def most(self) -> int:
        """The most that the figure may be, as told."""
        return self.own + self.bounds.most

    @property
    def is_hidden(self) -> bool:
        """Tell whether the figure is not told exactly."""
        return self.bounds.least != self.bounds.most

    @property
    def text(self) -> str:
        """The figure as shown: exact, or only what it is below or between."""
        if self.is_hidden and self.bounds.least <= 1:
            return f"<{telling.exact(self.own + self.bounds.most + 1).text}"
        return self.bounds.plus(self.own).text

    @property
    def drawn(self) -> float:
        """The figure as drawn; those that are told alike have the same length."""
        return self.own + self.bounds.drawn

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
    mine: int
    others: Figure
    idle: Figure
    offline: Figure


def pools_now(*, tenant_id: UUID, now: datetime) -> list[PoolNow]:
    """Return the pools that a tenant may use, each as the tenant may see it."""
    counts = client_selectors.pool_counts(tenant_id=tenant_id, now=now)
    bound = _bound([one.pool_id for one in counts], tenant_id)
    return [of_pool(one, *bound.get(one.pool_id, (0, 0))) for one in counts]


def of_pool(one: PoolCount, held: int, mine: int) -> PoolNow:
    """Return a pool's figures: ``held`` devices are at work, ``mine`` of them for who asks."""
    # A bound device may have lost its connection for a moment: then nothing is idle beyond it.
    counts = [
        max(0, held - mine),
        max(0, one.online - held),
        max(0, one.devices - max(one.online, held)),
    ]
    if not one.is_shared:
        others, idle, offline = (Figure(own=count) for count in counts)
        figures = Figure(own=one.devices), Figure(own=one.online), Figure(own=held)
        return PoolNow(one.pool_id, one.name, False, *figures, mine, others, idle, offline)
    told, whole = telling.parts(counts), telling.alone(one.devices)
    online = (told[0] + told[1]).plus(mine).and_also(whole.without(told[2]))
    return PoolNow(
        one.pool_id,
        one.name,
        True,
        Figure(shared=one.devices, told=whole),
        Figure(shared=one.online, told=online),
        Figure(shared=held, told=told[0].plus(mine)),
        mine,
        *(Figure(shared=count, told=part) for count, part in zip(counts, told, strict=True)),
    )


def total(figures: Iterable[Figure]) -> Figure:
    """Add up what is told, so that a sum tells no more than its parts."""
    found = list(figures)
    return Figure(
        sum(one.own for one in found),
        sum(one.shared for one in found),
        sum((one.bounds for one in found), Told()),
    )


def _bound(pools: list[UUID], tenant_id: UUID) -> dict[UUID, tuple[int, int]]:
    """Count bound devices by pool, whoever works with them; and those that work for us."""
    held = Assignment.objects.filter(status=Assignment.Status.BOUND, device__pool_id__in=pools)
    with system_scope():
        rows = (
            held.order_by()
            .values_list("device__pool_id")
            .annotate(every=Count("id"), mine=Count("id", filter=Q(tenant_id=tenant_id)))
        )
        return {pool_id: (every, mine) for pool_id, every, mine in rows}
