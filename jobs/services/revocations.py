"""What a device held that was shut out: nothing of it counts, and its slot is another's."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction

from clients.models import Device
from jobs.models import Assignment
from jobs.services import slots

CODE = "device_revoked"


@transaction.atomic
def withdraw(*, device_id: UUID, now: datetime) -> None:
    """Take back what a revoked device holds; its lease would end it if this was not asked."""
    theirs = Assignment.objects.filter(device_id=device_id, device__status=Device.Status.REVOKED)
    slots.call_back(theirs, code=CODE, message="its device was revoked", now=now)
