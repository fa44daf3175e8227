"""Thin: ids in, one service call. The sweep finds whatever a lost message would have said."""

from __future__ import annotations

import time
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from core import hints
from scheduling import admission, services

REST_SHARE = 9.0
LONGEST_REST_S = 0.25
_rest_until = 0.0


@shared_task(name="scheduling.plan")
def plan() -> None:
    """Plan: demand, policy or shares have changed.

    At once after a quiet while. When every bind is a change, plans take a tenth of the time at
    most: each commit would ask for one, and one plan answers all that came before it.
    """
    global _rest_until
    time.sleep(min(LONGEST_REST_S, max(0.0, _rest_until - time.monotonic())))
    hints.taken("scheduling.plan")
    began = time.monotonic()
    services.plan(now=timezone.now())
    ended = time.monotonic()
    _rest_until = ended + min(LONGEST_REST_S, REST_SHARE * (ended - began))


@shared_task(name="scheduling.admit")
def admit(job_id: str) -> None:
    """Decide on a job; its first round is planned by the hint that opening it sends."""
    hints.taken("scheduling.admit", job_id)
    admission.admit(job_id=UUID(job_id), now=timezone.now())


@shared_task(name="scheduling.sweep")
def sweep() -> None:
    """Once a second: what time brings, and what hints have lost."""
    services.sweep(now=timezone.now())
