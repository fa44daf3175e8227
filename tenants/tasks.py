"""Work of the queue ``batch``: webhooks, and what tenants no longer need."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from core import hints
from tenants import idempotency
from tenants.webhooks import delivering


@shared_task(name="tenants.sweep")
def sweep() -> None:
    """Forget the answers to old Idempotency-Keys and what webhooks were sent long ago."""
    idempotency.sweep(now=timezone.now())
    delivering.forget(now=timezone.now())


@shared_task(name="tenants.webhooks")
def webhooks() -> None:
    """Queue what happened for webhooks, and send what is due."""
    hints.taken("tenants.webhooks")
    delivering.queue(now=timezone.now())
    delivering.send(now=timezone.now())
