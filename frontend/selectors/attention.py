"""What needs a look beside jobs: quotas near their end, webhooks that fail, tokens that expire,
and what the operator does to the fleet."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import redis.exceptions
from django.db.models import Count, Q

from frontend import words
from jobs import maintenance
from scheduling import quotas, supply
from scheduling.models import GatewayDrain
from tenants.models import ApiToken, Delivery
from tenants.scopes import system_scope

NEAR = 0.9
SOON = timedelta(days=7)
FAILING = timedelta(days=1)
TRIED = 3
DRAINS = timedelta(hours=1)
SHOWN = 3
_UNITS = {
    "jobs": "jobs at once",
    "devices": "devices at once",
    "device_hours": "device-hours of this month",
    "stored_bytes": "stored bytes",
}


@dataclass(frozen=True, slots=True)
class Note:
    """One thing: what it is, what to do, and the page (a URL's name) on which to do it."""

    title: str
    text: str
    page: str = ""
    needs_you: bool = True
    at: datetime | None = None


def notes(*, tenant_id: UUID, now: datetime) -> list[Note]:
    """Return what needs a look, what holds everything up first."""
    return [
        *_of_operator(now),
        *_quotas(tenant_id, now),
        *_webhooks(now),
        *_tokens(now),
    ]


def _of_operator(now: datetime) -> list[Note]:
    found = []
    asked = maintenance.in_force()
    if asked is not None:
        title = "The fleet is stopped" if asked.mode == asked.Mode.STOPPED else "New rounds wait"
        text = f"{asked.message[:1].upper()}{asked.message[1:]}. No round fails by it."
        found.append(Note(title, text, needs_you=False, at=asked.created_at))
    with system_scope():
        asked_of = set(
            GatewayDrain.objects.filter(created_at__gt=now - DRAINS).values_list(
                "gateway", flat=True
            )
        )
    draining = len(asked_of & _living()) if asked_of else 0
    if draining:
        text = f"The operator empties {words.count(draining, 'gateway')}: devices move to others."
        found.append(Note("Devices reconnect", f"{text} Rounds go on.", needs_you=False))
    return found


def _living() -> set[str]:
    try:
        return set(supply.gateways())
    except redis.exceptions.RedisError:
        return set()


def _quotas(tenant_id: UUID, now: datetime) -> list[Note]:
    quota = quotas.quota_of(tenant_id)
    if quota is None:
        return []
    used = _used(tenant_id, now.replace(second=0, microsecond=0))
    found = []
    for name, unit in _UNITS.items():
        allowed, has = getattr(quota, name), getattr(used, name)
        if allowed and has >= NEAR * allowed:
            percent = int(100 * has / allowed)
            title = "Quota used up" if has >= allowed else "Quota near its end"
            text = f"{percent}\u202f% of the {unit} that it allows. Ask the operator for more."
            found.append(Note(title, text, "frontend:usage"))
    return found


@functools.lru_cache(maxsize=256)
def _used(tenant_id: UUID, minute: datetime) -> quotas.Usage:
    # The month's sum needs all of its assignments: it is looked up once a minute and process.
    return quotas.usage(tenant_id, now=minute)


def _webhooks(now: datetime) -> list[Note]:
    late = Q(status=Delivery.Status.WAITING, attempts__gte=TRIED)
    rows = (
        Delivery.objects.filter(webhook__deleted_at=None, created_at__gt=now - FAILING)
        .filter(Q(status=Delivery.Status.FAILED) | late)
        .order_by()
        .values_list("webhook__url")
        .annotate(Count("id"))
        .order_by("webhook__url")
    )
    return [
        Note(
            "A webhook fails",
            f"{words.count(count, 'event')} of the last day did not arrive at {url}.",
            "frontend:settings-webhooks",
        )
        for url, count in rows[:SHOWN]
    ]


def _tokens(now: datetime) -> list[Note]:
    rows = ApiToken.objects.filter(
        revoked_at=None, expires_at__gt=now, expires_at__lte=now + SOON
    ).order_by("expires_at")
    return [
        Note(
            "An API token expires soon",
            f"{one.name} ({one.start}…): make another one before, for what uses it.",
            "frontend:settings-tokens",
            at=one.expires_at,
        )
        for one in rows[:SHOWN]
    ]
