"""Updates that leaves hold: whether one counts as accepted, and what if it comes here after all."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

import jobs.services
from aggregation.models import Hold
from core import knobs


def take_over(*, assignment_id: UUID, device_id: UUID, now: datetime) -> jobs.services.Reported:
    """Count a held update whose bytes came here after all; its leaf's copy is refused later.

    Raises jobs.services' RoundClosed, AlreadyReported: it is not held.
    """
    held = Hold.objects.filter(assignment_id=assignment_id, assignment__device_id=device_id).first()
    if held is None:
        raise jobs.services.AlreadyReported(f"assignment {assignment_id} has reported")
    reported = jobs.services.count_held(
        round_id=held.round_id, assignment_ids=[assignment_id], now=now
    )
    held.delete()
    return reported


def is_held(*, assignment_id: UUID, device_id: UUID, now: datetime) -> bool:
    """Tell whether a leaf that is alive holds the device's update; see :func:`alive`."""
    own = Hold.objects.filter(assignment_id=assignment_id, assignment__device_id=device_id)
    return own.exists() and bool(alive(assignment_ids=[assignment_id], now=now))


def alive(*, assignment_ids: Collection[UUID], now: datetime) -> set[UUID]:
    """Return those that a leaf holds which is alive; what a silent one holds shall come again."""
    if not assignment_ids:
        return set()
    rows = Hold.objects.filter(
        assignment_id__in=assignment_ids,
        leaf__revoked_at=None,
        leaf__heard_at__gt=silent_since(now),
    )
    return set(rows.values_list("assignment_id", flat=True))


def silent_since(now: datetime) -> datetime:
    """Return when a leaf must have been heard to count as alive."""
    return now - timedelta(seconds=knobs.get().leaf_silent_s)
