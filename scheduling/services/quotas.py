"""How much each tenant may have in all."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from core import connections, hints, reasons
from core.errors import Invalid
from scheduling import keys
from scheduling.models import QuotaChange, TenantQuota
from tenants import services as tenant_services


class QuotaInvalid(Invalid):
    """A bound below zero, or no reason."""

    code = "quota_invalid"


@transaction.atomic
def set_quota(
    *,
    tenant_id: UUID,
    jobs: int | None,
    devices: int | None,
    device_hours: float | None,
    stored_bytes: int | None,
    author: str,
    reason: str,
    now: datetime,
) -> TenantQuota:
    """Set how much a tenant may have in all; None is no bound. Raises QuotaInvalid.

    What runs goes on, and no device is taken from it; only new devices and jobs are refused.
    """
    bounds: dict[str, Any] = {
        "jobs": jobs, "devices": devices, "device_hours": device_hours,
        "stored_bytes": stored_bytes,
    }  # fmt: skip
    errors = {
        name: f"{value!r}; 0 or more, or nothing for no bound, is allowed"
        for name, value in bounds.items()
        if value is not None and not 0 <= value < math.inf
    }
    errors |= reasons.faults(reason)
    QuotaInvalid.check(errors)
    old = TenantQuota.objects.filter(tenant_id=tenant_id).values(*bounds).first()
    values = {**bounds, "reason": reason, "updated_by": author, "updated_at": now}
    quota, _ = TenantQuota.objects.update_or_create(tenant_id=tenant_id, defaults=values)
    QuotaChange.objects.create(
        tenant_id=tenant_id, **bounds, reason=reason, author=author, created_at=now
    )
    tenant_services.audit(
        tenant_id=tenant_id, actor=author, action="quota.set", target=str(tenant_id), now=now,
        reason=reason, **bounds, **reasons.before(old),
    )  # fmt: skip
    connections.soft_state().delete(keys.QUEUED)
    hints.send("scheduling.plan", queue="scheduling")
    return quota


def revert_quota(*, change_id: int, author: str, now: datetime) -> TenantQuota:
    """Set a quota of the history again. Raises QuotaInvalid."""
    old = QuotaChange.objects.get(id=change_id)
    return set_quota(
        tenant_id=old.tenant_id,
        jobs=old.jobs,
        devices=old.devices,
        device_hours=old.device_hours,
        stored_bytes=old.stored_bytes,
        author=author,
        reason=reasons.of_revert("quota", old),
        now=now,
    )
