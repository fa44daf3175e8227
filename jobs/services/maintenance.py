"""The operator's word to the whole fleet: pause new rounds, stop everything, go on.

No round fails by it: while it is in force, windows and deadlines that would end in a failure are
put off, and they are given anew when normal times return.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from core import hints, reasons
from core.errors import Invalid
from jobs import maintenance
from jobs.models import Assignment, Maintenance, Round
from jobs.services import clocks, slots
from tenants import services as tenant_services

CODE = "fleet_stopped"


class MaintenanceInvalid(Invalid):
    """No such mode, or no reason."""

    code = "maintenance_invalid"


@transaction.atomic
def set_maintenance(*, mode: str, reason: str, author: str, now: datetime) -> Maintenance:
    """Pause, stop or go on, for the whole fleet and at once. Raises MaintenanceInvalid."""
    errors = {}
    if mode not in Maintenance.Mode.values:
        errors["mode"] = f"{mode!r}; allowed are {', '.join(Maintenance.Mode.values)}"
    errors |= reasons.faults(reason)
    MaintenanceInvalid.check(errors)
    before = maintenance.in_force()
    chosen = Maintenance(mode=mode, reason=reason, author=author, created_at=now)
    if mode == Maintenance.Mode.NORMAL:
        clocks.begin_anew(Round.objects.filter(clocks.wanting()), now=now)
    elif mode == Maintenance.Mode.STOPPED:
        slots.call_back(Assignment.objects.all(), code=CODE, message=chosen.message, now=now)
    chosen.save()
    tenant_services.audit(
        tenant_id=None, actor=author, action="maintenance.set", target=mode, now=now, reason=reason,
        before=before.mode if before else Maintenance.Mode.NORMAL,
    )  # fmt: skip
    hints.send("scheduling.plan", queue="scheduling")
    return chosen


def revert_maintenance(*, maintenance_id: int, author: str, now: datetime) -> Maintenance:
    """Choose a row of the history again, as a new one."""
    old = Maintenance.objects.get(id=maintenance_id)
    reason = reasons.of_revert("choice", old, old.reason)
    return set_maintenance(mode=old.mode, reason=reason, author=author, now=now)


def keep(*, now: datetime) -> None:
    """Keep what is in force.

    Each step is a transaction: in one, the rounds of the next would be locked in any order.
    """
    asked = maintenance.in_force()
    if asked is None:
        return
    if asked.mode == Maintenance.Mode.STOPPED:
        # Some were on their way as the fleet was stopped.
        with transaction.atomic():
            slots.call_back(Assignment.objects.all(), code=CODE, message=asked.message, now=now)
    with transaction.atomic():
        clocks.put_off(Round.objects.all(), now=now)
