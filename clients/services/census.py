"""What the devices of a pool are like, counted where it has changed, for pages to read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Exists, OuterRef, Q

from clients.models import Device, Pool, PoolCensus

EXACT_VALUES = 8
"""Of a number with more different values than this in a pool, powers of two are counted."""

OVERLAP = timedelta(seconds=10)
"""A change may be committed so long after the moment that it is written down with."""

_COUNT = """
    WITH one AS (
        SELECT pair.key AS name, pair.value AS value,
               jsonb_typeof(pair.value) = 'number' AS is_number
          FROM clients_device AS device, jsonb_each(device.attributes) AS pair
         WHERE device.pool_id = %s AND device.status = 'active'
    ), variety AS (
        SELECT name, count(DISTINCT value) AS different FROM one GROUP BY name
    )
    SELECT one.name,
           CASE WHEN one.is_number AND variety.different > %s
                THEN floor(log(2, greatest((one.value #>> '{}')::numeric, 0.001)))::int
            END AS power,
           CASE WHEN NOT one.is_number OR variety.different <= %s
                THEN one.value #>> '{}' END AS exact,
           count(*)
      FROM one JOIN variety USING (name)
     GROUP BY 1, 2, 3
"""


def take_census(*, now: datetime) -> int:
    """Count the pools whose devices have changed since their last census; returns how many."""
    since = OuterRef("census__counted_at")
    changed = Device.objects.filter(
        Q(connected_at__gt=since) | Q(enrolled_at__gt=since) | Q(revoked_at__gt=since),
        pool=OuterRef("pk"),
    )
    due = Pool.objects.filter(Exists(changed) | Q(census=None))
    for pool in due:
        PoolCensus.objects.update_or_create(
            pool=pool,
            defaults={
                "tenant_id": pool.tenant_id, "counted_at": now - OVERLAP,
                "attributes": _counted(pool.id),
            },
        )  # fmt: skip
    return len(due)


def _counted(pool_id: UUID) -> dict[str, list[tuple[int | None, str | None, int]]]:
    found: dict[str, list[Any]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [pool_id, EXACT_VALUES, EXACT_VALUES])
        for name, power, exact, count in cursor.fetchall():
            found.setdefault(name, []).append((power, exact, count))
    return found
