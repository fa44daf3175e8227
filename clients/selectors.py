"""Reads of pools and devices. What a tenant learns of shared pools is counts only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Q, QuerySet

from clients import telling
from clients.models import Device, Pool
from tenants.models import Tenant
from tenants.scopes import system_scope

ONLINE_WITHIN = timedelta(seconds=60)
SMALL = telling.SMALL


@dataclass(frozen=True, slots=True)
class PoolCount:
    """Devices of one pool; ``online`` were seen within the last minute."""

    pool_id: UUID
    name: str
    is_shared: bool
    devices: int
    online: int


def pseudonym(tenant_id: UUID, device_id: UUID) -> str:
    """Return the name under which a tenant sees a device; other tenants see another one."""
    text = f"{tenant_id}:{device_id}".encode()
    return "d-" + hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).hexdigest()[:8]


def pools_for(tenant_id: UUID) -> list[Pool]:
    """Return the pools that a tenant may use: shared ones and its own, by name."""
    allowed = Q(tenant=None) | Q(tenant_id=tenant_id)
    return list(Pool.objects.filter(allowed).order_by("name", "id"))


def pool_counts(*, tenant_id: UUID, now: datetime) -> list[PoolCount]:
    """Count devices in the pools a tenant may use. Counts only, so shared pools are included."""
    online = Q(devices__seen_at__gt=now - ONLINE_WITHIN)
    active = Q(devices__status=Device.Status.ACTIVE)
    with system_scope():
        rows = list(
            Pool.objects.filter(Q(tenant=None) | Q(tenant_id=tenant_id))
            .annotate(
                total=Count("devices", filter=active), up=Count("devices", filter=active & online)
            )
            .order_by("name", "id")
        )
    return [PoolCount(pool.id, pool.name, pool.is_shared, pool.total, pool.up) for pool in rows]


def active_profiles() -> Iterator[tuple[dict[str, Any], dict[str, list[str]], str]]:
    """Yield (attributes, workloads, pool id) of every active device; for the system only."""
    rows = Device.objects.filter(status=Device.Status.ACTIVE).values_list(
        "attributes", "workloads", "pool_id"
    )
    for attributes, workloads, pool_id in rows.iterator(chunk_size=5000):
        yield attributes, workloads, str(pool_id)


def revoked_among(device_ids: Iterable[UUID]) -> list[UUID]:
    """Return those of these devices that have been shut out; for the system only."""
    rows = Device.objects.filter(id__in=list(device_ids), status=Device.Status.REVOKED)
    return list(rows.values_list("id", flat=True))


def filtered(
    rows: QuerySet[Device],
    *,
    now: datetime,
    status: str | None = None,
    pool: str | None = None,
    name: str | None = None,
    online: bool | None = None,
) -> QuerySet[Device]:
    """Narrow devices down; ``pool`` is a name or an id."""
    if status is not None:
        rows = rows.filter(status=status)
    if pool is not None:
        rows = rows.filter(pool_id=pool) if _is_uuid(pool) else rows.filter(pool__name=pool)
    if name is not None:
        rows = rows.filter(name__icontains=name)
    if online is not None:
        seen = Q(seen_at__gt=now - ONLINE_WITHIN)
        rows = rows.filter(seen) if online else rows.exclude(seen)
    return rows


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def tenants_of(pool: Pool) -> list[str]:
    """Return the slugs of the tenants that may use a pool; for the system only."""
    rows = Tenant.objects.filter(id=pool.tenant_id) if pool.tenant_id else Tenant.objects.all()
    return list(rows.order_by("slug").values_list("slug", flat=True))
