"""Work of the queue ``batch`` on what tenants no longer need."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from tenants import idempotency


@shared_task(name="tenants.sweep")
def sweep() -> None:
    """Forget the answers to old Idempotency-Keys."""
    idempotency.sweep(now=timezone.now())
