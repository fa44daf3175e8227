"""Work of the queue ``batch`` on devices."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from clients import services


@shared_task(name="clients.census")
def census() -> None:
    """Count what devices are like, where that has changed."""
    services.take_census(now=timezone.now())
