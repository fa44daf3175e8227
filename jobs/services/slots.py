"""Slots of rounds that come back: of assignments that ended, or were taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db.models import F, QuerySet

from core import events, hints
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


def call_back(found: QuerySet[Assignment], *, code: str, message: str, now: datetime) -> None:
    """Cancel what devices hold among these, in words; its slots are open again, for others.

    Runs inside the caller's transaction.
    """
    bound = found.filter(status=Assignment.Status.BOUND)
    round_ids = set(bound.order_by().values_list("round_id", flat=True))
    if not round_ids:
        return
    # Rounds first and by id, as everywhere; a report that holds its round's lock is counted.
    list(Round.objects.filter(id__in=round_ids).order_by("id").select_for_update(no_key=True))
    held = list(
        bound.filter(round_id__in=round_ids)
        .order_by("id")
        .select_for_update(no_key=True, of=("self",))
    )
    ids = [one.id for one in held]
    Assignment.objects.filter(id__in=ids).update(
        status=Assignment.Status.CANCELLED, code=code, message=message[:500], ended_at=now
    )
    count_lost(Counter(one.round_id for one in held))
    hints.to_gateways(
        {"cancelled": [str(one) for one in ids], "code": code, "message": message[:500]}
    )
    for tenant_id, job_id in {(one.tenant_id, one.job_id) for one in held}:
        events.changed(tenant_id=tenant_id, job_id=job_id, kind="assignment.cancelled")
