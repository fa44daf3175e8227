"""One device and what it did for a tenant: by name if it is its own, else by its pseudonym."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.paginator import Page, Paginator

from aggregation import device_tasks
from aggregation.device_tasks import Totals
from clients.models import AttributeDefinition, Device
from clients.selectors import pseudonym
from clients.services import DeviceUnknown
from frontend import endings, words
from frontend.endings import Ending
from frontend.selectors.devices import state_of
from jobs.models import Assignment

PAGE = 50


@dataclass(frozen=True, slots=True)
class Told:
    """An attribute that the device tells, in the schema's words."""

    name: str
    value: str
    unit: str


@dataclass(frozen=True, slots=True)
class Line:
    """One task: what ran, when, what came of it, and what it cost."""

    job_id: UUID
    job: str
    what: str
    at: datetime
    outcome: str
    tone: str
    took: str
    down_bytes: int
    up_bytes: int


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A device as its page shows it; ``device`` is there only for who owns it."""

    name: str
    device: Device | None
    state: str
    attributes: list[Told]
    totals: Totals
    history: Page[Assignment]
    lines: list[Line]


def own(*, tenant_id: UUID, device_id: UUID) -> Device:
    """Return a device of a pool of the tenant's own. Raises DeviceUnknown, for any other too."""
    found = Device.objects.select_related("pool").filter(id=device_id, tenant_id=tenant_id).first()
    if found is None:
        raise DeviceUnknown(f"no device {device_id}")
    return found


def page(*, tenant_id: UUID, device: Device, number: Any, now: datetime) -> DevicePage:
    """Return the page of a device with the tasks that it had from this tenant, newest first."""
    is_own = device.tenant_id == tenant_id
    rows = device_tasks.tasks(tenant_id=tenant_id, device_id=device.id)
    history = Paginator(rows, PAGE).get_page(number)
    found = list(history)
    is_bound = any(one.status == Assignment.Status.BOUND for one in found)
    return DevicePage(
        name=device.name if is_own else pseudonym(tenant_id, device.id),
        device=device if is_own else None,
        state=state_of(device, is_bound=is_bound, now=now) if is_own else "",
        attributes=_attributes(device.attributes) if is_own else [],
        totals=device_tasks.totals(tenant_id=tenant_id, device_id=device.id, now=now),
        history=history,
        lines=[_line(one, is_own, now) for one in found],
    )


def _attributes(told: Mapping[str, Any]) -> list[Told]:
    schema = AttributeDefinition.objects.filter(name__in=list(told)).order_by("name")
    return [Told(one.name, str(told[one.name]), one.unit) for one in schema]


def _line(task: Assignment, is_own: bool, now: datetime) -> Line:
    round_ = task.round
    kind = "Round" if round_.kind == "train" else "Evaluation of version"
    attempt = f", attempt {round_.attempt}" if round_.attempt > 1 else ""
    outcome, tone = _outcome(task, is_own)
    return Line(
        job_id=task.job_id,
        job=task.job.name,
        what=f"{kind} {round_.number}{attempt}",
        at=task.bound_at,
        outcome=outcome,
        tone=tone,
        took=words.duration(((task.ended_at or now) - task.bound_at).total_seconds()),
        down_bytes=device_tasks.down_bytes(task),
        up_bytes=device_tasks.up_bytes(task),
    )


def _outcome(task: Assignment, is_own: bool) -> tuple[str, str]:
    """Say what came of a task, as much of it as is told."""
    status = Assignment.Status
    if task.status == status.BOUND:
        text = words.assignment(task.status, task.phase, accepted=task.accepted_at is not None)
        return text, "busy"
    if task.status == status.REPORTED:
        return "Reported", "good"
    code = device_tasks.told_code(task, is_own=is_own)
    if task.status == status.DECLINED and not code:
        return "Declined", "off"
    text = endings.why(Ending(task.status, code, 1))
    tone = "off" if task.status in (status.CANCELLED, status.DECLINED) else "bad"
    return text[:1].upper() + text[1:], tone
