"""Thin: ids in, one service call. The sweep finds whatever a lost message would have said."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task
from django.utils import timezone

from core import hints
from scheduling import admission, services


@shared_task(name="scheduling.plan")
def plan() -> None:
    """Plan now: demand, policy or shares have changed."""
    hints.taken("scheduling.plan")
    services.plan(now=timezone.now())


@shared_task(name="scheduling.admit")
def admit(job_id: str) -> None:
    """Decide on a job; its first round is planned by the hint that opening it sends."""
    hints.taken("scheduling.admit", job_id)
    admission.admit(job_id=UUID(job_id), now=timezone.now())


@shared_task(name="scheduling.sweep")
def sweep() -> None:
    """Once a second: what time brings, and what hints have lost."""
    services.sweep(now=timezone.now())
