"""What the settings show of a tenant's people, tokens and audit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.paginator import Page, Paginator

from clients.models import Device
from frontend import audit_words
from jobs.models import Job
from tenants import selectors as tenant_selectors
from tenants.models import ApiToken, AuditEntry, Delivery, Invitation, Member, Role, Webhook

AUDIT_PAGE = 50
LOG_LINES = 50


@dataclass(frozen=True, slots=True)
class People:
    """Members with the owners first, and invitations that are open."""

    members: list[Member]
    invitations: list[Invitation]


@dataclass(frozen=True, slots=True)
class TokenLine:
    """One API token and whether it still opens anything."""

    token: ApiToken
    state: str

    @property
    def key(self) -> str:
        """The id as a page's own ids hold it."""
        return str(self.token.id)


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One change; ``target`` by its name, with the job or device that the page may link to."""

    entry: AuditEntry
    did: str
    target: str
    job_id: UUID | None
    device_id: UUID | None
    facts: list[audit_words.Fact]


@dataclass(frozen=True, slots=True)
class AuditPage:
    """One page of the audit and what may be chosen to narrow it: actions and their words."""

    entries: Page[AuditEntry]
    lines: list[AuditLine]
    actions: list[tuple[str, str]]


def people(*, now: datetime) -> People:
    """Return the tenant's people; of invitations only those with which one can still join."""
    ranks = list(Role.values)
    members = sorted(
        Member.objects.select_related("user"),
        key=lambda one: (ranks.index(one.role), one.user.get_username()),
    )
    invitations = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=now)
    return People(members, list(invitations.order_by("expires_at")))


def tokens(*, now: datetime) -> list[TokenLine]:
    """Return the tenant's API tokens: those that work first, each group newest first."""
    found = [TokenLine(one, _state(one, now)) for one in ApiToken.objects.order_by("-id")]
    return sorted(found, key=lambda one: one.state != "active")


def audit(*, asked: str, action: str, number: Any) -> AuditPage:
    """Return a page of the audit whose actor or target holds ``asked``, of one action or of all."""
    rows = tenant_selectors.audit_entries(asked=asked, action=action)
    actions = AuditEntry.objects.order_by("action").values_list("action", flat=True).distinct()
    shown = Paginator(rows, AUDIT_PAGE).get_page(number)
    return AuditPage(
        shown, _lines(list(shown)), sorted((one, audit_words.did(one)) for one in actions)
    )


def _lines(rows: list[AuditEntry]) -> list[AuditLine]:
    """Return lines with the names of jobs and devices, by two queries for all."""
    ids = {one.id: id_ for one in rows if (id_ := _id(one.target)) is not None}
    jobs = dict(Job.objects.filter(id__in=ids.values()).values_list("id", "name"))
    devices = dict(Device.objects.filter(id__in=ids.values()).values_list("id", "name"))
    found = []
    for one in rows:
        id_ = ids.get(one.id)
        _, _, part = one.target.partition("/")
        target = audit_words.named(one.target)
        if id_ in jobs:
            what = one.action.partition(".")[0]
            target = f"{jobs[id_]}, {what} {part}" if part else jobs[id_]
        elif id_ in devices:
            target = devices[id_]
        elif id_ == one.tenant_id:
            target = "this tenant"
        found.append(
            AuditLine(
                entry=one,
                did=audit_words.did(one.action),
                target=target,
                job_id=id_ if id_ in jobs else None,
                device_id=id_ if id_ in devices else None,
                facts=audit_words.facts(one.detail),
            )
        )
    return found


def _id(target: str) -> UUID | None:
    try:
        return UUID(target.partition("/")[0])
    except ValueError:
        return None


def webhooks() -> list[Webhook]:
    """Return the tenant's webhooks, newest first."""
    return list(Webhook.objects.filter(deleted_at=None).order_by("-id"))


def deliveries() -> list[Delivery]:
    """Return what was sent last, to whichever webhook."""
    return list(Delivery.objects.select_related("webhook").order_by("-id")[:LOG_LINES])


def _state(token: ApiToken, now: datetime) -> str:
    if token.revoked_at:
        return "revoked"
    return "expired" if token.expires_at and token.expires_at <= now else "active"
