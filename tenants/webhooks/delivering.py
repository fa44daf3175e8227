"""From events to deliveries to receivers; each step finds its work in rows, so none is lost."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Window
from django.db.models.functions import RowNumber

from core import events, knobs
from core.models import Event
from tenants.models import Delivery, Webhook
from tenants.webhooks import sending, signing

logger = logging.getLogger(__name__)

BATCH = 500
SENT_AT_ONCE = 8
CLAIMED = 4 * SENT_AT_ONCE
CLAIM = timedelta(seconds=60)
OF_TENANT = SENT_AT_ONCE // 2
"""Claimed of one tenant at once, so that its slow receivers leave half of the senders free."""
BEGIN_S = 10.0
"""Nothing is begun later in a pass: what is then under way ends well within its claim."""
WAITS = tuple(timedelta(seconds=one) for one in (10, 60, 300, 1800, 7200, 21_600, 43_200))
"""Before the second try, the third, and so on; after the last the delivery has failed."""
_ERROR_LENGTH = Delivery._meta.get_field("error").max_length


def queue(*, now: datetime) -> int:
    """Queue what happened since last time for each webhook; returns how many deliveries."""
    found = 0
    for webhook_id in Webhook.objects.filter(deleted_at=None).values_list("id", flat=True):
        with transaction.atomic():
            webhook = Webhook.objects.select_for_update(skip_locked=True).filter(
                id=webhook_id, deleted_at=None
            )
            found += sum(_queue(one, now) for one in webhook)
    return found


def send(*, now: datetime, clock: Callable[[], float] = time.monotonic) -> int:
    """Send what is due, several at once, for some seconds; returns how many were tried."""
    until = clock() + BEGIN_S
    tried = 0
    slow: set[UUID] = set()
    with ThreadPoolExecutor(SENT_AT_ONCE) as pool:
        while clock() < until and (claimed := _claim(now, but=slow)):
            outcomes = list(pool.map(lambda one: _tried(one) if clock() < until else None, claimed))
            for delivery, outcome in zip(claimed, outcomes, strict=True):
                _settled(delivery, outcome, now)
                tried += outcome is not None
                if outcome is None or outcome.status is None:
                    # Who did not answer is not waited for again in this pass.
                    slow.add(delivery.tenant_id)
    return tried


def forget(*, now: datetime) -> int:
    """Delete deliveries that ended long ago; returns how many."""
    until = now - timedelta(seconds=knobs.get().webhook_retention_s)
    return Delivery.objects.filter(ended_at__lt=until).delete()[0]


def body_of(event: Event) -> dict[str, Any]:
    """Return what is sent of an event: ids, never payloads; no device."""
    return {
        "id": event.id,
        "kind": event.kind,
        "at": event.at.isoformat(),
        "tenant": str(event.tenant_id),
        "job": event.job_id and str(event.job_id),
        "round": event.round_id and str(event.round_id),
        "data": event.data,
    }


def _queue(webhook: Webhook, now: datetime) -> int:
    secret = signing.renewed(bytes(webhook.secret))
    if secret is not None:
        Webhook.objects.filter(id=webhook.id).update(secret=secret)
    found = events.of_tenant(
        tenant_id=webhook.tenant_id, kinds=webhook.kinds, after=webhook.read_up_to,
        now=now, limit=BATCH,
    )  # fmt: skip
    made = Delivery.objects.bulk_create(
        [
            Delivery(
                tenant_id=webhook.tenant_id, webhook=webhook, event=event.id, kind=event.kind,
                body=body_of(event), next_at=now, created_at=now,
            )
            for event in found
        ],
        ignore_conflicts=True,
    )  # fmt: skip
    done = events.done_up_to(found, now=now, limit=BATCH)
    if done is not None:
        Webhook.objects.filter(id=webhook.id).update(read_up_to=done)
    return len(made)


def _claim(now: datetime, *, but: Collection[UUID]) -> list[Delivery]:
    """Take what is due, but of some tenants: every tenant's first before anybody's second.

    Another worker finds it again only if we do not come back.
    """
    due = Delivery.objects.filter(status=Delivery.Status.WAITING, next_at__lte=now)
    place = Window(RowNumber(), partition_by=F("tenant"), order_by=("next_at", "id"))
    turns = due.exclude(tenant__in=but).annotate(place=place).filter(place__lte=OF_TENANT)
    chosen = list(turns.order_by("place", "next_at").values_list("id", flat=True)[:CLAIMED])
    with transaction.atomic():
        claimed = list(
            due.filter(id__in=chosen)
            .select_for_update(skip_locked=True, of=("self",))
            .select_related("webhook")
        )
        Delivery.objects.filter(id__in=[one.id for one in claimed]).update(next_at=now + CLAIM)
    return sorted(claimed, key=lambda one: chosen.index(one.id))


def _tried(delivery: Delivery) -> sending.Outcome:
    try:
        return _post(delivery)
    except signing.SecretSealed as error:
        return sending.Outcome(None, str(error))
    except Exception:
        # The edge: one tenant's delivery must not hold up those of all others.
        logger.exception("webhook.failed", extra={"delivery": delivery.id})
        return sending.Outcome(None, "it could not be sent; the operator finds why in the log")


def _post(delivery: Delivery) -> sending.Outcome:
    if delivery.webhook.deleted_at:
        return sending.Outcome(None, "the webhook was deleted")
    body = json.dumps(delivery.body, separators=(",", ":")).encode()
    secret = signing.opened(bytes(delivery.webhook.secret))
    # Of the moment of sending: receivers refuse what was signed long ago.
    at = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Propius",
        "Propius-Event": delivery.kind,
        "Propius-Delivery": str(delivery.id),
        signing.HEADER: signing.signature(secret, at=at, body=body),
    }
    private = knobs.get().webhook_addresses == "any"
    return sending.post(delivery.webhook.url, body, headers, private=private)


def _settled(delivery: Delivery, outcome: sending.Outcome | None, now: datetime) -> None:
    try:
        with transaction.atomic():
            if outcome is None:
                Delivery.objects.filter(id=delivery.id).update(next_at=delivery.next_at)
            else:
                _settle(delivery, outcome, now)
    except Exception:
        # The edge: the others were sent, and would be again. This one is, after its claim.
        logger.exception("webhook.unsettled", extra={"delivery": delivery.id})


def _settle(delivery: Delivery, outcome: sending.Outcome, now: datetime) -> None:
    tries = delivery.attempts + 1
    last = tries > len(WAITS) or delivery.webhook.deleted_at is not None
    changed: dict[str, Any] = {
        "attempts": tries, "answer": outcome.status, "error": outcome.error[:_ERROR_LENGTH],
    }  # fmt: skip
    if outcome.taken:
        changed |= {"status": Delivery.Status.DELIVERED, "ended_at": now}
    elif last:
        changed |= {"status": Delivery.Status.FAILED, "ended_at": now}
    else:
        changed["next_at"] = now + WAITS[tries - 1]
    Delivery.objects.filter(id=delivery.id).update(**changed)
    if not outcome.taken:
        logger.warning(
            "webhook.not_delivered",
            extra={"delivery": delivery.id, "status": outcome.status, "error": outcome.error},
        )
