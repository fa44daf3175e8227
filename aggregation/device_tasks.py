"""What one device did for a tenant, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Case, Count, DurationField, F, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from clients.models import Device
from clients.services import DeviceUnknown
from jobs.models import Assignment
from tenants.scopes import system_scope

_DOWN = Case(
    When(accepted_at__isnull=False, then=Coalesce("base_size", "round__base_size")),
    default=Value(0),
)


@dataclass(frozen=True, slots=True)
class Totals:
    """All that a device did for a tenant."""

    tasks: int
    reported: int
    hours: float
    down_bytes: int
    up_bytes: int


def behind(*, tenant_id: UUID, assignment_id: UUID) -> Device:
    """Return the device that a task of the tenant went to. Raises DeviceUnknown.

    Devices of shared pools are found by this alone: what a tenant knows of them is their work.
    """
    task = Assignment.objects.filter(id=assignment_id, tenant_id=tenant_id).first()
    if task is None:
        raise DeviceUnknown(f"no task {assignment_id}")
    with system_scope():
        return Device.objects.select_related("pool").get(id=task.device_id)


def tasks(*, tenant_id: UUID, device_id: UUID) -> QuerySet[Assignment]:
    """Return the tasks that a device had from a tenant, newest first."""
    rows = Assignment.objects.filter(device_id=device_id, tenant_id=tenant_id)
    return rows.select_related("job", "round", "update").order_by("-id")


def told_code(task: Assignment, *, is_own: bool) -> str:
    """Return why a task ended so; why another's device declined is its owner's business."""
    is_hidden = task.status == Assignment.Status.DECLINED and not is_own
    return "" if is_hidden else task.code


def down_bytes(task: Assignment) -> int:
    """Return the size of the parameters that the device was handed."""
    if task.accepted_at is None:
        return 0
    return task.round.base_size if task.base_size is None else task.base_size


def up_bytes(task: Assignment) -> int:
    """Return the size of the update that was taken from the device."""
    update = getattr(task, "update", None)
    return update.size_bytes if update else 0


def totals(*, tenant_id: UUID, device_id: UUID, now: datetime) -> Totals:
    """Add up what a device did for a tenant, but for what is forgotten."""
    held = Coalesce(F("ended_at"), now) - F("bound_at")
    found = Assignment.objects.filter(device_id=device_id, tenant_id=tenant_id).aggregate(
        tasks=Count("id"),
        reported=Count("id", filter=Q(status=Assignment.Status.REPORTED)),
        held=Sum(held, output_field=DurationField()),
        down=Sum(_DOWN),
        up=Sum("update__size_bytes"),
    )
    hours = found["held"].total_seconds() / 3_600 if found["held"] else 0.0
    return Totals(found["tasks"], found["reported"], hours, found["down"] or 0, found["up"] or 0)
