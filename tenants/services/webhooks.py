"""Webhooks of a tenant: where its events go."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction

from core import events, hints, knobs
from core.errors import Conflict, Invalid, NotFound
from tenants.models import Delivery, Webhook
from tenants.services.auditing import audit
from tenants.webhooks import sending, signing
from tenants.webhooks.kinds import KINDS, TEST

SECRET_START = "ppw_"
MOST = 20


class WebhookUnknown(NotFound):
    """No such webhook in this tenant."""

    code = "webhook_unknown"


class TooManyWebhooks(Conflict):
    """The tenant has as many webhooks as it may."""

    code = "too_many_webhooks"


@transaction.atomic
def create_webhook(
    *, tenant_id: UUID, url: str, kinds: Iterable[str] | None, actor: str, now: datetime
) -> tuple[Webhook, str]:
    """Send the tenant's events of these kinds (None: all) to ``url`` from now on.

    Returns the row and the secret that signs, which is shown once. Raises Invalid and
    TooManyWebhooks.
    """
    wanted = sorted(set(KINDS if kinds is None else kinds))
    _check(url, wanted)
    if Webhook.objects.filter(tenant_id=tenant_id, deleted_at=None).count() >= MOST:
        raise TooManyWebhooks(f"a tenant has at most {MOST} webhooks; delete one first")
    secret = SECRET_START + secrets.token_urlsafe(32)
    webhook = Webhook.objects.create(
        tenant_id=tenant_id,
        url=url,
        kinds=wanted,
        secret=signing.sealed(secret),
        created_by=actor,
        created_at=now,
        read_up_to=events.last_of_tenant(tenant_id),
    )
    audit(
        tenant_id=tenant_id, actor=actor, action="webhook.create", target=url, now=now,
        webhook=str(webhook.id), kinds=wanted,
    )  # fmt: skip
    return webhook, secret


@transaction.atomic
def delete_webhook(*, webhook_id: UUID, actor: str, now: datetime) -> None:
    """Send nothing there any more; its log stays for its retention. Raises WebhookUnknown."""
    webhook = _found(webhook_id)
    Webhook.objects.filter(id=webhook_id).update(deleted_at=now)
    audit(
        tenant_id=webhook.tenant_id, actor=actor, action="webhook.delete", target=webhook.url,
        now=now, webhook=str(webhook_id),
    )  # fmt: skip


@transaction.atomic
def try_webhook(*, webhook_id: UUID, actor: str, now: datetime) -> Delivery:
    """Queue a delivery that tells nothing, to see whether it arrives. Raises WebhookUnknown."""
    webhook = _found(webhook_id)
    delivery = Delivery.objects.create(
        tenant_id=webhook.tenant_id,
        webhook=webhook,
        event=0,
        kind=TEST,
        body={"id": 0, "kind": TEST, "at": now.isoformat(), "tenant": str(webhook.tenant_id)},
        next_at=now,
        created_at=now,
    )
    audit(
        tenant_id=webhook.tenant_id, actor=actor, action="webhook.test", target=webhook.url,
        now=now, webhook=str(webhook_id),
    )  # fmt: skip
    hints.send("tenants.webhooks", queue="batch")
    return delivery


def _check(url: str, kinds: list[str]) -> None:
    errors = {}
    fault = sending.faults(url, private=knobs.get().webhook_addresses == "any")
    if fault:
        errors["url"] = fault
    unknown = [one for one in kinds if one not in KINDS]
    if unknown or not kinds:
        errors["kinds"] = f"{unknown}; allowed are {', '.join(KINDS)}"
    if errors:
        raise Invalid("the webhook cannot be made", errors=errors)


def _found(webhook_id: UUID) -> Webhook:
    webhook = Webhook.objects.filter(id=webhook_id, deleted_at=None).first()
    if webhook is None:
        raise WebhookUnknown(f"no webhook {webhook_id}")
    return webhook
