"""How many devices refused a job's rounds of late, by reason: told with why a job waits.

Distinct devices are counted with HyperLogLog, so that one which refuses at each offer counts once
and no list of devices is kept. Soft state, as the rest in Redis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import redis.asyncio

from core import connections
from scheduling import keys

SLICE_S = 1_800
AT_LEAST = timedelta(hours=1)
AT_MOST = timedelta(hours=3)
KEPT_S = round(AT_MOST.total_seconds()) + SLICE_S


async def note(
    client: redis.asyncio.Redis, found: Mapping[tuple[str, str], Collection[str]], *, now: datetime
) -> None:
    """Add devices by job and code; a gateway calls it each second with all it has heard."""
    if not found:
        return
    number = int(now.timestamp()) // SLICE_S
    async with client.pipeline(transaction=False) as pipe:
        for (job_id, code), devices in found.items():
            key, codes = keys.refusals(job_id, code, number), keys.refusal_codes(job_id)
            pipe.pfadd(key, *devices)
            pipe.sadd(codes, code)
            pipe.expire(key, KEPT_S)
            pipe.expire(codes, KEPT_S)
        await pipe.execute()


def count(*job_ids: UUID, since: datetime, now: datetime) -> Counter[str]:
    """Return devices by code, since ``since``: for an hour at least, and for three at most.

    A device that refused several of the jobs by the same code counts once.
    """
    since = max(now - AT_MOST, min(since, now - AT_LEAST))
    first, last = (int(one.timestamp()) // SLICE_S for one in (since, now))
    client = connections.soft_state()
    with client.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.smembers(keys.refusal_codes(str(job_id)))
        listed: list[Any] = pipe.execute()
        codes = sorted({one.decode() for of_job in listed for one in of_job})
        for code in codes:
            slices = [
                keys.refusals(str(job_id), code, one)
                for job_id in job_ids
                for one in range(first, last + 1)
            ]
            pipe.pfcount(*slices)
        counts = pipe.execute()
    return Counter({code: found for code, found in zip(codes, counts, strict=True) if found})
