"""Thin: ids in, one service call. The sweep finds whatever a lost message would have said."""

from __future__ import annotations

import time
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from core import hints
from scheduling import admission, previews, sampling, services

REST_SHARE = 9.0
LONGEST_REST_S = 0.25
LOOK_S = 0.005
_ended = 0.0
_took = 0.0


@shared_task(name="scheduling.plan")
def plan(why: str = "") -> None:
    """Plan: demand, policy or shares have changed.

    At once after a quiet while. When every bind is a change, plans take a tenth of the time at
    most: each commit would ask for one, and one plan answers all that came before it. A round that
    has opened ends the rest sooner, for nobody can bind to it before it is in a plan: then plans
    take half of the time at most.
    """
    global _ended, _took
    if why == hints.OPENED and not hints.is_asked("scheduling.plan", hints.OPENED):
        return  # another plan has answered it since, or the sweep has
    _rest()
    hints.taken("scheduling.plan")
    hints.taken("scheduling.plan", hints.OPENED)
    began = time.monotonic()
    services.plan(now=timezone.now())
    _ended = time.monotonic()
    _took = _ended - began


def _rest() -> None:
    until = _ended + min(LONGEST_REST_S, REST_SHARE * _took)
    soonest = _ended + min(LONGEST_REST_S, _took)
    while (now := time.monotonic()) < until:
        if now >= soonest and hints.is_asked("scheduling.plan", hints.OPENED):
            return
        time.sleep(min(LOOK_S, until - now))


@shared_task(name="scheduling.admit")
def admit(job_id: str) -> None:
    """Decide on a job; its first round is planned by the hint that opening it sends."""
    hints.taken("scheduling.admit", job_id)
    admission.admit(job_id=UUID(job_id), now=timezone.now())


@shared_task(name="scheduling.preview")
def preview(preview_id: str) -> None:
    """Replay the last hours for who has asked; a lost hint is asked for again by a person."""
    hints.taken("scheduling.preview", preview_id)
    previews.work(UUID(preview_id))


@shared_task(name="scheduling.sweep")
def sweep() -> None:
    """Once a second: what time brings, and what hints have lost."""
    services.sweep(now=timezone.now())


@shared_task(name="scheduling.sample")
def sample() -> None:
    """Keep what devices do, once a minute."""
    sampling.sample(now=timezone.now())
