"""Every write of the control plane: plans, the policy, shares, and what time brings."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import redis
from django.db import connection, transaction

from core import connections, hints
from core.errors import Invalid
from jobs import services as job_services
from scheduling import admission, keys, learning, planning, policies, publishing, recording, supply
from scheduling.binding import PlanNotice
from scheduling.models import GatewayDrain, ShareChange, SharingPolicy, TenantQuota, TenantShare
from scheduling.sharing import Terms
from tenants import services as tenant_services

logger = logging.getLogger(__name__)

OUTAGE_S = 5
QUEUED_S = 5
_ATTEMPTS = 3


class PolicyInvalid(Invalid):
    """No such policy, or parameters that it does not take."""

    code = "policy_invalid"


class ShareInvalid(Invalid):
    """A weight, guarantee, ceiling or lending limit that makes no sense."""

    code = "share_invalid"


class QuotaInvalid(Invalid):
    """A bound below zero, or no reason."""

    code = "quota_invalid"


class DrainInvalid(Invalid):
    """No such gateway lives, or no reason."""

    code = "drain_invalid"


def plan(*, now: datetime) -> PlanNotice | None:
    """Plan over the rows as they are and publish; None if a newer plan came between.

    Safe to run twice at once. If Redis was emptied, all of it is rebuilt from rows here.
    """
    for _ in range(_ATTEMPTS):
        begun = publishing.begin()
        if not begun.epoch:
            logger.warning("plan.rebuilding", extra={"plan_version": begun.version})
        publication = planning.prepare(begun, now=now)
        try:
            notice = publishing.publish(begun, publication)
        except publishing.PlanSuperseded as error:
            logger.info("plan.superseded", extra={"plan_version": begun.version, "by": error.by})
            if error.by == "version":
                return None
        else:
            recording.plan(begun, publication, now=now)
            return notice
    return None


@transaction.atomic
def set_policy(
    *, name: str, parameters: Mapping[str, Any], author: str, reason: str, now: datetime
) -> SharingPolicy:
    """Choose the policy for the whole fleet, at once; bound devices stay. Raises PolicyInvalid."""
    errors = {} if reason.strip() else {"reason": "say why, for those who read the history"}
    try:
        policies.make(name, parameters)
    except policies.BadParameters as error:
        errors |= error.errors
    if errors:
        text = "; ".join(f"{field}: {fault}" for field, fault in errors.items())
        raise PolicyInvalid(text, errors=errors)
    chosen = SharingPolicy.objects.create(
        name=name, parameters=dict(parameters), reason=reason, author=author, created_at=now
    )
    tenant_services.audit(
        tenant_id=None, actor=author, action="policy.set", target=name, now=now, reason=reason
    )
    recording.record_next_plan()
    hints.send("scheduling.plan", queue="scheduling")
    return chosen


@transaction.atomic
def set_share(
    *,
    tenant_id: UUID,
    weight: float,
    guarantee: int,
    ceiling: int | None,
    author: str,
    now: datetime,
    lending_limit: int | None = None,
    reason: str = "",
) -> TenantShare:
    """Set a tenant's part of the fleet, in devices at once; bound devices stay.

    ``lending_limit`` is how much of the guarantee others may have while the tenant does not ask
    for it; None is all. Raises ShareInvalid.
    """
    terms = Terms(weight, guarantee, ceiling, lending_limit)
    errors = terms.errors()
    if errors:
        text = "; ".join(f"{field}: {fault}" for field, fault in errors.items())
        raise ShareInvalid(text, errors=errors)
    bounds = dataclasses.asdict(terms)
    share, _ = TenantShare.objects.update_or_create(
        tenant_id=tenant_id, defaults={**bounds, "updated_by": author, "updated_at": now}
    )
    ShareChange.objects.create(
        tenant_id=tenant_id, **bounds, reason=reason, author=author, created_at=now
    )
    tenant_services.audit(
        tenant_id=tenant_id, actor=author, action="share.set", target=str(tenant_id), now=now,
        reason=reason, **bounds,
    )  # fmt: skip
    recording.record_next_plan()
    hints.send("scheduling.plan", queue="scheduling")
    return share


def revert_policy(*, policy_id: int, author: str, now: datetime) -> SharingPolicy:
    """Choose a policy of the history again, as a new row. Raises PolicyInvalid."""
    old = SharingPolicy.objects.get(id=policy_id)
    return set_policy(
        name=old.name,
        parameters=old.parameters,
        author=author,
        reason=f"back to the choice of {old.created_at:%Y-%m-%d %H:%M} by {old.author}"[:300],
        now=now,
    )


def revert_share(*, change_id: int, author: str, now: datetime) -> TenantShare:
    """Set a share of the history again. Raises ShareInvalid."""
    old = ShareChange.objects.get(id=change_id)
    return set_share(
        tenant_id=old.tenant_id,
        weight=old.weight,
        guarantee=old.guarantee,
        ceiling=old.ceiling,
        lending_limit=old.lending_limit,
        author=author,
        reason=f"back to the share of {old.created_at:%Y-%m-%d %H:%M} by {old.author}"[:300],
        now=now,
    )


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
    if not reason.strip():
        errors["reason"] = "say why, for those who read the history"
    if errors:
        text = "; ".join(f"{field}: {fault}" for field, fault in errors.items())
        raise QuotaInvalid(text, errors=errors)
    values = {**bounds, "reason": reason, "updated_by": author, "updated_at": now}
    quota, _ = TenantQuota.objects.update_or_create(tenant_id=tenant_id, defaults=values)
    tenant_services.audit(
        tenant_id=tenant_id, actor=author, action="quota.set", target=str(tenant_id), now=now,
        reason=reason, **bounds,
    )  # fmt: skip
    connections.soft_state().delete(keys.QUEUED)
    hints.send("scheduling.plan", queue="scheduling")
    return quota


@transaction.atomic
def drain_gateway(*, gateway: str, author: str, reason: str, now: datetime) -> GatewayDrain:
    """Have a gateway send its devices away and end, as TERM does. Raises DrainInvalid."""
    errors = {}
    living = supply.gateways()
    if gateway not in living:
        errors["gateway"] = f"{gateway!r}; living are {', '.join(living) or 'none'}"
    if not reason.strip():
        errors["reason"] = "say why, for those who read the history"
    if errors:
        text = "; ".join(f"{field}: {fault}" for field, fault in errors.items())
        raise DrainInvalid(text, errors=errors)
    asked = GatewayDrain.objects.create(
        gateway=gateway, reason=reason, author=author, created_at=now
    )
    tenant_services.audit(
        tenant_id=None, actor=author, action="gateway.drain", target=gateway, now=now,
        reason=reason, sockets=living[gateway],
    )  # fmt: skip
    hints.to_gateways({"drain": gateway})
    return asked


def sweep(*, now: datetime) -> None:
    """Find every row whose hint was lost: leases, windows, deadlines, waiting jobs, demand.

    A step that fails is logged and holds up no other. Raises only where the later ones could not
    succeed either: Postgres or Redis is away, or the caller's transaction is broken.
    """
    steps: tuple[Callable[..., object], ...] = (
        _sweep_rounds, learning.learn, admission.admit_new, _admit_queued, _forget_profiles, plan,
        recording.minutes,
    )  # fmt: skip
    for step in steps:
        try:
            step(now=now)
        except (redis.ConnectionError, redis.TimeoutError):
            raise
        except Exception:
            if connection.in_atomic_block or not connection.is_usable():
                raise
            logger.exception("sweep.step", extra={"step": step.__name__.lstrip("_")})


def _sweep_rounds(*, now: datetime) -> None:
    client = connections.soft_state()
    if not client.exists(keys.SWEEP):
        # We were away, or Redis was emptied: devices could not renew, so silence proves nothing.
        extended = job_services.extend_leases(now=now)
        logger.warning("sweep.after_outage", extra={"leases_extended": extended})
    job_services.uphold(now=now)
    job_services.sweep(now=now)
    # Only after a sweep that reached the rows, so that Postgres away counts as an outage too.
    client.set(keys.SWEEP, now.isoformat(), ex=OUTAGE_S)


def _admit_queued(*, now: datetime) -> None:
    if connections.soft_state().set(keys.QUEUED, b"1", nx=True, ex=QUEUED_S):
        admission.admit_queued(now=now)


def _forget_profiles(*, now: datetime) -> None:
    supply.forget_old_profiles()
