"""Devices: what they are like, by attribute; own private ones by name; tokens to enrol more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.paginator import Page, Paginator

from clients import telling
from clients.models import AttributeDefinition, Device, EnrolmentToken, Pool, PoolCensus
from clients.selectors import ONLINE_WITHIN, SMALL
from clients.services import EXACT_VALUES
from frontend.selectors.fleet import Fleet, fleet
from jobs.fleet import Figure
from jobs.models import Assignment
from tenants.scopes import system_scope

DEVICES_SHOWN, TOKENS_SHOWN = 100, 50
BARS_SHOWN = 12
Value = tuple[int | None, str | None]
"""A power of two, or an exact value."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Devices that have one value, or one range of values."""

    label: str
    figure: Figure
    percent: int


@dataclass(frozen=True, slots=True)
class Distribution:
    """One public attribute over all devices that a tenant may use."""

    name: str
    unit: str
    description: str
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class OwnDevice:
    """A device of a pool of this tenant's own."""

    id: UUID
    name: str
    pool: str
    state: str
    sdk: str
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class OwnDevices:
    """A page of a tenant's own devices, those that ``search`` names."""

    lines: list[OwnDevice]
    search: str
    page: Page[Device]


@dataclass(frozen=True, slots=True)
class Token:
    """An enrolment token, without its secret."""

    id: UUID
    name: str
    start: str
    pool: str
    uses: int
    max_uses: int
    expires_at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class DevicesPage:
    """Everything that the page of devices shows."""

    fleet: Fleet
    distributions: list[Distribution]
    own: OwnDevices
    own_pools: list[Pool]
    tokens: list[Token]
    more_tokens: int


def page(*, tenant_id: UUID, now: datetime, search: str = "", number: Any = None) -> DevicesPage:
    """Return the page of devices of one tenant; of its own devices, a page of those named so."""
    found = fleet(tenant_id=tenant_id, now=now)
    own_pools = list(Pool.objects.filter(tenant_id=tenant_id).order_by("name"))
    tokens = EnrolmentToken.objects.filter(tenant_id=tenant_id).select_related("pool")
    newest = list(tokens.order_by("-id")[:TOKENS_SHOWN])
    return DevicesPage(
        fleet=found,
        distributions=distributions([pool.id for pool in found.pools]),
        own=_own(tenant_id, search, number, now),
        own_pools=own_pools,
        tokens=_tokens(newest, now),
        more_tokens=tokens.count() - len(newest) if len(newest) == TOKENS_SHOWN else 0,
    )


def own_pool(*, tenant_id: UUID, pool_id: UUID) -> Pool | None:
    """Return a pool that is this tenant's own, or None."""
    return Pool.objects.filter(tenant_id=tenant_id, id=pool_id).first()


def distributions(pool_ids: list[UUID]) -> list[Distribution]:
    """Count devices by attribute: by value, or by powers of two where values are many.

    Powers of two, not the range of what is there: the ends of that would be single devices'.
    """
    by_name = _counted(pool_ids)
    return [
        Distribution(one.name, one.unit, one.description, _bars(_alike(by_name[one.name], one)))
        for one in AttributeDefinition.objects.order_by("name")
        if one.name in by_name
    ]


def _counted(pool_ids: list[UUID]) -> dict[str, dict[Value, Figure]]:
    """Add up what the pools' last census found, by attribute."""
    with system_scope():
        taken = list(PoolCensus.objects.select_related("pool").filter(pool_id__in=pool_ids))
    found: dict[str, dict[Value, Figure]] = {}
    for census in taken:
        for name, rows in census.attributes.items():
            sums = found.setdefault(name, {})
            for power, exact, count in rows:
                figure = Figure(shared=count) if census.pool.is_shared else Figure(own=count)
                sums[power, exact] = sums.get((power, exact), Figure()) + figure
    return found


def _alike(
    sums: dict[Value, Figure], attribute: AttributeDefinition
) -> list[tuple[int | None, str | None, Figure]]:
    """Bring numbers to powers of two if one pool has them so, or all together have many."""
    is_many = any(power is not None for power, _ in sums) or len(sums) > EXACT_VALUES
    alike: dict[Value, Figure] = {}
    for (power, exact), figure in sums.items():
        key = (power, exact)
        if is_many and exact is not None and attribute.type == AttributeDefinition.Type.NUMBER:
            key = (math.floor(math.log2(max(float(exact), 0.001))), None)
        alike[key] = alike.get(key, Figure()) + figure
    return [(power, exact, figure) for (power, exact), figure in alike.items()]


def _bars(rows: list[tuple[int | None, str | None, Figure]]) -> list[Bar]:
    shown: list[tuple[tuple[int, float, str], str, Figure]] = []
    rest = Figure()
    ranked = sorted(rows, key=lambda row: -row[2].drawn)
    for index, (power, exact, figure) in enumerate(ranked):
        # A value that few shared devices have could tell whose they are: only the sum is shown.
        is_telling = 0 < figure.shared < SMALL and not figure.own
        if power is None and (is_telling or index >= BARS_SHOWN):
            rest += figure
        elif power is not None:
            label = f"{_power(power)} to {_power(power + 1)}"
            shown.append(((0, power, ""), label, figure))
        else:
            shown.append((_order(exact or ""), exact or "(empty)", figure))
    shown.sort(key=lambda one: one[0])
    pairs = [(label, figure) for _, label, figure in shown]
    if rest:
        pairs.append(("other values", rest))
    # Their sum is known: it must not tell the only one that is hidden.
    told = telling.parts([figure.shared for _, figure in pairs])
    pairs = [
        (label, Figure(figure.own, figure.shared, part))
        for (label, figure), part in zip(pairs, told, strict=True)
    ]
    most = max(figure.drawn for _, figure in pairs)
    return [Bar(label, figure, round(100 * figure.drawn / most)) for label, figure in pairs]


def _power(exponent: int) -> str:
    return f"{2**exponent:,}".replace(",", "\u202f") if exponent >= 0 else f"1/{2**-exponent}"


def _order(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)


def _own(tenant_id: UUID, search: str, number: Any, now: datetime) -> OwnDevices:
    named = Device.objects.filter(tenant_id=tenant_id, name__icontains=search)
    ordered = named.select_related("pool").order_by("status", "name", "id")
    shown = Paginator(ordered, DEVICES_SHOWN).get_page(number)
    rows = list(shown)
    # Another tenant cannot hold a device of a private pool, so our own rows tell all.
    bound = set(
        Assignment.objects.filter(
            device_id__in=[row.id for row in rows], status=Assignment.Status.BOUND
        ).values_list("device_id", flat=True)
    )
    lines = [
        OwnDevice(
            row.id,
            row.name,
            row.pool.name,
            state_of(row, is_bound=row.id in bound, now=now),
            row.sdk,
            row.seen_at,
        )
        for row in rows
    ]
    return OwnDevices(lines, search, shown)


def state_of(row: Device, *, is_bound: bool, now: datetime) -> str:
    """Say in one word what a device does."""
    if row.status == Device.Status.REVOKED:
        return "revoked"
    if row.seen_at is None or row.seen_at <= now - ONLINE_WITHIN:
        return "offline"
    return "working" if is_bound else "idle"


def _tokens(rows: list[EnrolmentToken], now: datetime) -> list[Token]:
    return [
        Token(
            id=row.id,
            name=row.name,
            start=row.start,
            pool=row.pool.name,
            uses=row.uses,
            max_uses=row.max_uses,
            expires_at=row.expires_at,
            state=_token_state(row, now),
        )
        for row in rows
    ]


def _token_state(row: EnrolmentToken, now: datetime) -> str:
    if row.revoked_at:
        return "revoked"
    if row.expires_at <= now:
        return "expired"
    return "used up" if row.uses >= row.max_uses else "open"
