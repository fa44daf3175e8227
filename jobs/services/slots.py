"""Slots of rounds that come back: of assignments that ended, or were taken back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db.models import F

from core import hints
from jobs.models import Assignment, Round


def cancel_bound(round_ids: list[UUID], *, code: str, now: datetime) -> None:
    """Take back what devices hold of these rounds, and tell the gateways."""
    bound = Assignment.objects.filter(round_id__in=round_ids, status=Assignment.Status.BOUND)
    ids = list(bound.order_by("id").select_for_update(no_key=True).values_list("id", flat=True))
    if ids:
        Assignment.objects.filter(id__in=ids).update(
            status=Assignment.Status.CANCELLED, code=code, ended_at=now
        )
        hints.to_gateways({"cancelled": [str(one) for one in ids], "code": code})


def count_lost(round_ids: Mapping[UUID, int]) -> None:
    """Return the slots of assignments that ended without a report."""
    for round_id in sorted(round_ids):
        lost = round_ids[round_id]
        Round.objects.filter(id=round_id).update(
            assigned=F("assigned") - lost, lost=F("lost") + lost
        )
    if round_ids:
        hints.send("scheduling.plan", queue="scheduling")
