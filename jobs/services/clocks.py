"""Time in which the platform was away, or held rounds, does not count against them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet

from jobs.models import Job, Round

MARGIN = timedelta(seconds=5)
"""Sweeps come once a second; one that is late must not find a window that has ended."""


@transaction.atomic
def shift_open(*, by: timedelta) -> int:
    """Move the windows and deadlines of unfinished rounds later by ``by``; returns how many.

    For a restored backup: its rounds would all be past their deadlines. Leases are left to end:
    the devices that held them have gone on.
    """
    rounds = Round.objects.exclude(status=Round.Status.FINISHED)
    locked = rounds.order_by("id").select_for_update(no_key=True).values_list("id", flat=True)
    return Round.objects.filter(id__in=list(locked)).update(
        selection_ends_at=F("selection_ends_at") + by, deadline_at=F("deadline_at") + by
    )


def wanting() -> Q:
    """Return which rounds would fail if their time were up."""
    selecting = Q(status=Round.Status.SELECTING, assigned__lt=F("quorum"))
    executing = Q(status=Round.Status.EXECUTING, reported__lt=F("quorum"))
    # A pause stops selection only: deadlines run on.
    return selecting & Q(job__status=Job.Status.RUNNING) | executing


def begin_anew(found: QuerySet[Round], *, now: datetime) -> None:
    """Give rounds their whole window or deadline anew. Runs inside the caller's transaction."""
    for one in found.order_by("id").select_for_update(no_key=True, of=("self",)):
        if one.status == Round.Status.SELECTING:
            changed = {"selection_ends_at": now + timedelta(seconds=one.selection_s)}
        else:
            changed = {"deadline_at": now + timedelta(seconds=one.deadline_s)}
        Round.objects.filter(id=one.id).update(**changed)


def put_off(found: QuerySet[Round], *, now: datetime) -> None:
    """Do so with those that would fail within seconds, for want of devices that are held back."""
    soon = now + MARGIN
    selecting = Q(status=Round.Status.SELECTING, selection_ends_at__lte=soon)
    executing = Q(status=Round.Status.EXECUTING, deadline_at__lte=soon)
    begin_anew(found.filter(wanting(), selecting | executing), now=now)
