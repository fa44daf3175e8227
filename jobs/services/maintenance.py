"""The operator's word to the whole fleet: pause new rounds, stop everything, go on.

No round fails by it: while it is in force, windows and deadlines that would end in a failure are
put off, and they are given anew when normal times return.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet

from core import events, hints
from core.errors import Invalid
from jobs import maintenance
from jobs.models import Assignment, Job, Maintenance, Round
from jobs.services import slots
from tenants import services as tenant_services

CODE = "fleet_stopped"
MARGIN = timedelta(seconds=5)
"""Sweeps come once a second; one that is late must not find a window that has ended."""


class MaintenanceInvalid(Invalid):
    """No such mode, or no reason."""

    code = "maintenance_invalid"


@transaction.atomic
def set_maintenance(*, mode: str, reason: str, author: str, now: datetime) -> Maintenance:
    """Pause, stop or go on, for the whole fleet and at once. Raises MaintenanceInvalid."""
    errors = {}
    if mode not in Maintenance.Mode.values:
        errors["mode"] = f"{mode!r}; allowed are {', '.join(Maintenance.Mode.values)}"
    if not reason.strip():
        errors["reason"] = "say why: those who wait read it"
    if errors:
        text = "; ".join(f"{field}: {fault}" for field, fault in errors.items())
        raise MaintenanceInvalid(text, errors=errors)
    if mode == Maintenance.Mode.NORMAL:
        _put_off(Round.objects.filter(_wanting()), now=now)
    elif mode == Maintenance.Mode.STOPPED:
        _call_back(now=now)
    chosen = Maintenance.objects.create(mode=mode, reason=reason, author=author, created_at=now)
    tenant_services.audit(
        tenant_id=None, actor=author, action="maintenance.set", target=mode, now=now, reason=reason
    )
    hints.send("scheduling.plan", queue="scheduling")
    return chosen


def revert_maintenance(*, maintenance_id: int, author: str, now: datetime) -> Maintenance:
    """Choose a row of the history again, as a new one."""
    old = Maintenance.objects.get(id=maintenance_id)
    reason = f"back to the choice of {old.created_at:%Y-%m-%d %H:%M} by {old.author}: {old.reason}"
    return set_maintenance(mode=old.mode, reason=reason[:300], author=author, now=now)


@transaction.atomic
def uphold(*, now: datetime) -> None:
    """Keep what is in force: before each sweep, so that no round fails for want of devices."""
    asked = maintenance.in_force()
    if asked is None:
        return
    if asked.mode == Maintenance.Mode.STOPPED:
        _call_back(now=now)  # some were on their way as the fleet was stopped
    soon = now + MARGIN
    selecting = Q(status=Round.Status.SELECTING, selection_ends_at__lte=soon)
    executing = Q(status=Round.Status.EXECUTING, deadline_at__lte=soon)
    _put_off(Round.objects.filter(_wanting(), selecting | executing), now=now)


def _wanting() -> Q:
    """Return which rounds would fail if their time were up."""
    running = Q(job__status=Job.Status.RUNNING)
    selecting = Q(status=Round.Status.SELECTING, assigned__lt=F("quorum"))
    return running & (selecting | Q(status=Round.Status.EXECUTING, reported__lt=F("quorum")))


def _put_off(found: QuerySet[Round], *, now: datetime) -> None:
    """Give rounds their whole window or deadline anew."""
    for one in found.order_by("id").select_for_update(no_key=True, of=("self",)):
        if one.status == Round.Status.SELECTING:
            changed = {"selection_ends_at": now + timedelta(seconds=one.selection_s)}
        else:
            changed = {"deadline_at": now + timedelta(seconds=one.deadline_s)}
        Round.objects.filter(id=one.id).update(**changed)


def _call_back(*, now: datetime) -> None:
    """Cancel what devices hold; its slots are open again, for when the fleet goes on."""
    bound = Assignment.objects.filter(status=Assignment.Status.BOUND)
    round_ids = set(bound.values_list("round_id", flat=True))
    if not round_ids:
        return
    # Rounds first and by id, as everywhere; a report that holds its round's lock is counted.
    list(Round.objects.filter(id__in=round_ids).order_by("id").select_for_update(no_key=True))
    held = list(bound.filter(round_id__in=round_ids).order_by("id").select_for_update(no_key=True))
    ids = [one.id for one in held]
    Assignment.objects.filter(id__in=ids).update(
        status=Assignment.Status.CANCELLED, code=CODE, ended_at=now
    )
    slots.count_lost(Counter(one.round_id for one in held))
    hints.to_gateways({"cancelled": [str(one) for one in ids], "code": CODE})
    for tenant_id, job_id in {(one.tenant_id, one.job_id) for one in held}:
        events.changed(tenant_id=tenant_id, job_id=job_id, kind="assignment.cancelled")
