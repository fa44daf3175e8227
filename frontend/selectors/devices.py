"""Devices: what they are like, by attribute; own private ones by name; tokens to enrol more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.paginator import Page, Paginator

from clients.models import Device, EnrolmentToken, Pool
from clients.selectors import ONLINE_WITHIN
from frontend.selectors.fleet import Fleet, fleet
from jobs.distributions import Distribution, distributions
from jobs.models import Assignment

DEVICES_SHOWN, TOKENS_SHOWN = 100, 50


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
