"""Time that the platform was away does not count against rounds."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F

from jobs.models import Round


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
