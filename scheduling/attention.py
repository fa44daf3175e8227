"""What needs a look: jobs in trouble, quotas near their end, webhooks that fail, tokens that
expire, and what the operator does to the fleet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import redis.exceptions
from django.db.models import Count, Q

from core import figures
from jobs import maintenance
from jobs import selectors as job_selectors
from jobs.models import Job
from scheduling import quotas, supply, troubles
from scheduling.models import GatewayDrain
from scheduling.troubles import Troubles
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
    """One thing: a code of its kind, what it is, what to do, and what it is about."""

    code: str
    title: str
    text: str
    needs_you: bool = True
    at: datetime | None = None
    job_id: UUID | None = None
    webhook_id: UUID | None = None
    token_id: UUID | None = None


def of_jobs(found: Troubles) -> list[Note]:
    """Return a note for each job in trouble that is named."""
    current = job_selectors.current_rounds(found.named)
    waits = job_selectors.waits(found.named, current)
    asked = maintenance.in_force()
    return [
        _of_job(job, found, maintenance.explained(waits[job.id], asked).message)
        for job in found.named
    ]


def of_fleet(*, tenant_id: UUID, now: datetime) -> list[Note]:
    """Return what holds everything up, and quotas near their end."""
    return [*_of_operator(now), *_quotas(tenant_id, now)]


def of_access(*, now: datetime) -> list[Note]:
    """Return the tenant's webhooks that fail and its tokens that expire."""
    return [*_webhooks(now), *_tokens(now)]


def _of_job(job: Job, found: Troubles, text: str) -> Note:
    if job.status == Job.Status.FINISHED:
        return Note(f"job_{job.outcome}", job.name, text, at=job.finished_at, job_id=job.id)
    if troubles.is_put_off(job):
        return Note("job_put_off", job.name, text, at=job.submitted_at, job_id=job.id)
    text = f"{text}; no device that fits is connected"
    return Note("job_stalled", job.name, text, at=found.selecting[job.id].opened_at, job_id=job.id)


def _of_operator(now: datetime) -> list[Note]:
    found = []
    asked = maintenance.in_force()
    if asked is not None:
        is_stopped = asked.mode == asked.Mode.STOPPED
        code = "fleet_stopped" if is_stopped else "rounds_paused"
        title = "The fleet is stopped" if is_stopped else "New rounds wait"
        text = f"{asked.message[:1].upper()}{asked.message[1:]}. No round fails by it."
        found.append(Note(code, title, text, needs_you=False, at=asked.created_at))
    with system_scope():
        asked_of = set(
            GatewayDrain.objects.filter(created_at__gt=now - DRAINS).values_list(
                "gateway", flat=True
            )
        )
    draining = len(asked_of & _living()) if asked_of else 0
    if draining:
        text = f"The operator empties {figures.count(draining, 'gateway')}: devices move to others."
        text = f"{text} Rounds go on."
        found.append(Note("gateways_emptied", "Devices reconnect", text, needs_you=False))
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
    used = quotas.usage(tenant_id, now=now)
    found = []
    for name, unit in _UNITS.items():
        allowed, has = getattr(quota, name), getattr(used, name)
        if allowed and has >= NEAR * allowed:
            percent = int(100 * has / allowed)
            is_spent = has >= allowed
            code = "quota_used_up" if is_spent else "quota_near_end"
            title = "Quota used up" if is_spent else "Quota near its end"
            text = f"{percent}\u202f% of the {unit} that it allows. Ask the operator for more."
            found.append(Note(code, title, text))
    return found


def _webhooks(now: datetime) -> list[Note]:
    late = Q(status=Delivery.Status.WAITING, attempts__gte=TRIED)
    rows = (
        Delivery.objects.filter(webhook__deleted_at=None, created_at__gt=now - FAILING)
        .filter(Q(status=Delivery.Status.FAILED) | late)
        .order_by()
        .values_list("webhook_id", "webhook__url")
        .annotate(Count("id"))
        .order_by("webhook__url", "webhook_id")
    )
    return [
        Note(
            "webhook_fails",
            "A webhook fails",
            f"{figures.count(count, 'event')} of the last day did not arrive at {url}.",
            webhook_id=webhook_id,
        )
        for webhook_id, url, count in rows[:SHOWN]
    ]


def _tokens(now: datetime) -> list[Note]:
    rows = ApiToken.objects.filter(
        revoked_at=None, expires_at__gt=now, expires_at__lte=now + SOON
    ).order_by("expires_at")
    return [
        Note(
            "token_expires",
            "An API token expires soon",
            f"{one.name} ({one.start}…): make another one before, for what uses it.",
            at=one.expires_at,
            token_id=one.id,
        )
        for one in rows[:SHOWN]
    ]
