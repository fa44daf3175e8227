"""Reads of pools and devices. What a tenant learns of shared pools is counts only."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from clients import software, telling
from clients.models import Device, Pool, SdkRequirement
from tenants.models import Tenant
from tenants.scopes import system_scope

ONLINE_WITHIN = timedelta(seconds=60)
OF_LATE = timedelta(days=7)
OUTLIERS_OF = timedelta(days=30)
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
    active = Device.objects.filter(pool=OuterRef("pk"), status=Device.Status.ACTIVE)
    # Two counts instead of one over a join: those online are found by an index.
    total, up = _counted(active), _counted(active.filter(seen_at__gt=now - ONLINE_WITHIN))
    with system_scope():
        rows = list(
            Pool.objects.filter(Q(tenant=None) | Q(tenant_id=tenant_id))
            .annotate(total=total, up=up)
            .order_by("name", "id")
        )
    return [PoolCount(pool.id, pool.name, pool.is_shared, pool.total, pool.up) for pool in rows]


def _counted(devices: QuerySet[Device]) -> Coalesce:
    """Return the number of devices of the pool around it."""
    counted = devices.order_by().values("pool").annotate(number=Count("*")).values("number")
    return Coalesce(Subquery(counted), 0)


def revoked_among(device_ids: Iterable[UUID]) -> list[UUID]:
    """Return those of these devices that have been shut out; for the system only."""
    rows = Device.objects.filter(id__in=list(device_ids), status=Device.Status.REVOKED)
    return list(rows.values_list("id", flat=True))


def with_outliers(rows: QuerySet[Device], *, now: datetime) -> QuerySet[Device]:
    """Narrow devices down to those with an update that stood out of late; for the system only."""
    return rows.filter(id__in=_outliers(now).values("id"))


def outliers(device_ids: Iterable[UUID], *, now: datetime) -> dict[UUID, int]:
    """Count the updates of devices that stood out of late, with one query; for the system only."""
    found = _outliers(now).filter(id__in=list(device_ids)).order_by()
    return dict(found.annotate(number=Count("assignment__update")).values_list("id", "number"))


def _outliers(now: datetime) -> QuerySet[Device]:
    # By the names of relations: the rows are of apps above this one.
    return Device.objects.filter(
        assignment__update__is_outlier=True,
        assignment__update__accepted_at__gt=now - OUTLIERS_OF,
    )


def requirements_in_force() -> list[SdkRequirement]:
    """Return the newest requirement of each pool and software; for the system only."""
    rows = SdkRequirement.objects.order_by("pool_id", "software", "-id")
    return list(rows.distinct("pool_id", "software"))


def requirements() -> list[software.Requirement]:
    """Return what devices are asked for now; for the system only."""
    return [
        software.Requirement(
            row.pool_id,
            row.software,
            row.minimum,
            tuple(software.Step(part, datetime.fromisoformat(due)) for part, due in row.steps),
        )
        for row in requirements_in_force()
        if row.steps and not row.paused
    ]


@dataclass(frozen=True, slots=True)
class Reach:
    """Devices of late by what a requirement means to them; ``chosen`` are among ``below``."""

    meet: int
    below: int
    chosen: int
    other: int


def reach(rows: Sequence[SdkRequirement], *, now: datetime) -> dict[int, Reach]:
    """Count the devices of late that requirements mean, by requirement, with one query."""
    asked = {row.pk: row for row in rows}
    counts = {row.pk: Counter[bool | None]() for row in rows}
    chosen: Counter[int] = Counter()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT v.id, d.sdk, count(*), count(*) FILTER (WHERE v.below >
                ('x' || left(md5(v.minimum || ' ' || d.id::text), 8))::bit(32)::bigint %% %s)
            FROM unnest(%s::bigint[], %s::text[], %s::float[], %s::uuid[])
                AS v(id, minimum, below, pool_id)
            JOIN clients_device d ON d.pool_id = coalesce(v.pool_id, d.pool_id)
            WHERE d.status = 'active' AND d.seen_at > %s
            GROUP BY v.id, d.sdk
            """,
            [
                software.PARTS,
                list(asked),
                [row.minimum for row in rows],
                [row.percent * software.PARTS / 100 for row in rows],
                [row.pool_id for row in rows],
                now - OF_LATE,
            ],
        )
        for key, sdk, count, among in cursor.fetchall():
            verdict = software.meets(sdk, asked[key].software, asked[key].minimum)
            counts[key][verdict] += count
            chosen[key] += among if verdict is False else 0
    return {
        key: Reach(one[True], one[False], chosen[key], one[None]) for key, one in counts.items()
    }


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
