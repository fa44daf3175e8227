"""Thin: ids in, one service call."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task
from django.utils import timezone

from core import hints
from jobs import services


@shared_task(name="jobs.withdraw")
def withdraw(device_id: str) -> None:
    """Take back what a revoked device holds; if the hint is lost, its lease runs out."""
    hints.taken("jobs.withdraw", device_id)
    services.withdraw(device_id=UUID(device_id), now=timezone.now())
