"""The operator asks for a version of the devices' software, of a part of them after the other."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from clients import software
from clients.models import Pool, SdkRequirement
from core import hints, reasons
from core.errors import Invalid
from tenants import services as tenant_services

STEPS = (1, 5, 10, 25, 50, 100)
MOST_DAYS = 365.0
_NAME = re.compile(r"[\w.-]{1,60}")
_MINIMUM = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}")


class RequirementInvalid(Invalid):
    """No such software, version, part or time; or a row that is not in force any more."""

    code = "requirement_invalid"


@transaction.atomic
def require_sdk(
    *,
    pool_id: UUID | None,
    name: str,
    minimum: str,
    percent: float,
    grace_days: float,
    reason: str,
    author: str,
    now: datetime,
) -> SdkRequirement:
    """Ask a part of a pool's devices (None: of all) for a version. Raises RequirementInvalid.

    They are told at once, and get no more work once ``grace_days`` have passed.
    """
    errors = _faults(name, minimum, percent, grace_days) | reasons.faults(reason)
    if pool_id is not None and not Pool.objects.filter(id=pool_id).exists():
        errors["pool"] = f"no pool {pool_id}"
    RequirementInvalid.check(errors)
    due_at = now + timedelta(days=grace_days)
    row = SdkRequirement(
        pool_id=pool_id,
        software=name,
        minimum=minimum,
        steps=[[percent, due_at.isoformat()]] if percent else [],
        grace_days=grace_days,
    )
    return _keep(row, reason=reason, author=author, now=now)


@transaction.atomic
def raise_requirement(*, requirement_id: int, author: str, now: datetime) -> SdkRequirement:
    """Let it come to more devices, by the next of ``STEPS``. Raises RequirementInvalid.

    Those that it has come to before keep their time.
    """
    row = _in_force(requirement_id)
    percent = next_step(row)
    if percent is None:
        raise RequirementInvalid("it has come to all devices")
    due_at = now + timedelta(days=row.grace_days)
    row.steps = [*row.steps, [percent, due_at.isoformat()]]
    row.paused = False
    return _keep(row, reason=f"raised to {percent} %", author=author, now=now)


@transaction.atomic
def pause_requirement(*, requirement_id: int, author: str, now: datetime) -> SdkRequirement:
    """Tell nobody and shut nobody out, or go on if it is paused. Raises RequirementInvalid."""
    row = _in_force(requirement_id)
    row.paused = not row.paused
    return _keep(row, reason="paused" if row.paused else "goes on", author=author, now=now)


@transaction.atomic
def roll_back_requirement(*, requirement_id: int, author: str, now: datetime) -> SdkRequirement:
    """Put back the smaller part before the last step; before the first, nobody.

    Raises RequirementInvalid.
    """
    row = _in_force(requirement_id)
    if not row.steps:
        raise RequirementInvalid("it has come to nobody")
    row.steps = row.steps[:-1]
    text = f"rolled back to {row.percent:g} %"
    return _keep(row, reason=text, author=author, now=now)


@transaction.atomic
def revert_requirement(*, requirement_id: int, author: str, now: datetime) -> SdkRequirement:
    """Choose a row of the history again, with the times that it had."""
    row = SdkRequirement.objects.get(id=requirement_id)
    return _keep(row, reason=reasons.of_revert("requirement", row), author=author, now=now)


def next_step(row: SdkRequirement) -> int | None:
    """Return the part that the next step would come to; None after the last."""
    return next((one for one in STEPS if one > row.percent), None)


def _keep(row: SdkRequirement, *, reason: str, author: str, now: datetime) -> SdkRequirement:
    row.pk = None
    row.reason, row.author, row.created_at = reason, author, now
    row.save(force_insert=True)
    tenant_services.audit(
        tenant_id=None, actor=author, action="sdk_requirement.set",
        target=f"{row.software} {row.minimum}", now=now, reason=reason, percent=row.percent,
        paused=row.paused, pool=str(row.pool_id or "all"),
    )  # fmt: skip
    hints.to_gateways({"software": True})
    return row


def _in_force(requirement_id: int) -> SdkRequirement:
    """Return a row if it is the newest for its pool and software. Raises RequirementInvalid."""
    row = SdkRequirement.objects.get(id=requirement_id)
    later = SdkRequirement.objects.filter(software=row.software, id__gt=row.id)
    of_pool = Q(pool_id=row.pool_id) if row.pool_id else Q(pool_id__isnull=True)
    if later.filter(of_pool).exists():
        raise RequirementInvalid("it was changed meanwhile: look at the newest line")
    return row


def _faults(name: str, minimum: str, percent: float, grace_days: float) -> dict[str, str]:
    errors = {}
    if not _NAME.fullmatch(name):
        errors["software"] = f"{name!r}; up to 60 letters, digits, _, . and - are allowed"
    if not _MINIMUM.fullmatch(minimum) or software.version(minimum) is None:
        errors["minimum"] = f"{minimum!r}; up to four numbers with dots, like 0.2, are allowed"
    if not 0 <= percent <= 100:
        errors["percent"] = f"{percent!r}; 0 to 100 is allowed"
    if not (math.isfinite(grace_days) and 0 <= grace_days <= MOST_DAYS):
        errors["grace_days"] = f"{grace_days!r}; 0 to {MOST_DAYS:g} is allowed"
    return errors
