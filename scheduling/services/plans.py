"""Planning, and what time brings: each second."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

import redis
from django.db import connection

from core import connections
from jobs import services as job_services
from scheduling import admission, keys, learning, planning, publishing, recording, supply
from scheduling.binding import PlanNotice

logger = logging.getLogger(__name__)

OUTAGE_S = 5
QUEUED_S = 5
_ATTEMPTS = 3


def plan(*, now: datetime) -> PlanNotice | None:
    """Plan over the rows as they are and publish; None if a newer plan came between.

    Safe to run twice at once. If Redis was emptied, all of it is rebuilt from rows here.
    """
    for _ in range(_ATTEMPTS):
        begun = publishing.begin()
        if not begun.epoch:
            logger.warning("plan.rebuilding", extra={"plan_version": begun.version})
        publication = planning.prepare(begun, now=now)
        try:
            notice = publishing.publish(begun, publication)
        except publishing.PlanSuperseded as error:
            logger.info("plan.superseded", extra={"plan_version": begun.version, "by": error.by})
            if error.by == "version":
                return None
        else:
            recording.plan(begun, publication, now=now)
            return notice
    return None


def sweep(*, now: datetime) -> None:
    """Find every row whose hint was lost: leases, windows, deadlines, waiting jobs, demand.

    A step that fails is logged and holds up no other. Raises only where the later ones could not
    succeed either: Postgres or Redis is away, or the caller's transaction is broken.
    """
    steps: tuple[Callable[..., object], ...] = (
        _sweep_rounds, learning.learn, admission.admit_new, _admit_queued, _forget_profiles, plan,
        recording.minutes,
    )  # fmt: skip
    for step in steps:
        try:
            step(now=now)
        except (redis.ConnectionError, redis.TimeoutError):
            raise
        except Exception:
            if connection.in_atomic_block or not connection.is_usable():
                raise
            logger.exception("sweep.step", extra={"step": step.__name__.lstrip("_")})
    _note_sweep(now)  # again: steps that took long are no outage


def _sweep_rounds(*, now: datetime) -> None:
    client = connections.soft_state()
    if not client.exists(keys.SWEEP):
        # We were away, or Redis was emptied: devices could not renew, so silence proves nothing.
        extended = job_services.extend_leases(now=now)
        logger.warning("sweep.after_outage", extra={"leases_extended": extended})
    job_services.uphold(now=now)
    job_services.sweep(now=now)
    # Only after a sweep that reached the rows, so that Postgres away counts as an outage too.
    _note_sweep(now)


def _note_sweep(now: datetime) -> None:
    connections.soft_state().set(keys.SWEEP, now.isoformat(), ex=OUTAGE_S)


def _admit_queued(*, now: datetime) -> None:
    if connections.soft_state().set(keys.QUEUED, b"1", nx=True, ex=QUEUED_S):
        admission.admit_queued(now=now)


def _forget_profiles(*, now: datetime) -> None:
    supply.forget_old_profiles()
