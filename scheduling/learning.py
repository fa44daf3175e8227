"""What jobs' rounds have taken, learnt once from each as it closes.

The sweep rolls closed rounds up into one small value a job in Redis, so that a plan never looks at
assignments. Soft state: once it is lost, the rounds of unfinished jobs are read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core import connections
from jobs import usage
from scheduling import keys
from scheduling.times import LEAST_S, STEP, Times

LAG = timedelta(seconds=2)
"""So long may the commit of a round's close take; what comes later is not learnt from."""
AT_WORK_S = 60
KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a job's closed rounds have taken, in seconds.

    A task took ``workload_s`` on average, half of them at most ``median_s`` and 95 % ``p95_s``,
    older ones counting less and less. Its last train round took ``scheduling_s`` to bind devices
    and ``response_s`` from there to its close. ``attained_s`` is all that devices were held for.
    """

    workload_s: float = 0.0
    median_s: float = 0.0
    p95_s: float = 0.0
    scheduling_s: float = 0.0
    response_s: float = 0.0
    attained_s: float = 0.0


def learn(*, now: datetime) -> int:
    """Take in the rounds that have closed since the last time; returns of how many jobs."""
    client = connections.soft_state()
    if not client.set(keys.LEARNING, b"1", nx=True, ex=AT_WORK_S):
        return 0  # another sweep is at it: rounds must not count twice
    try:
        known: Any = client.get(keys.LEARNT)
        since = datetime.fromisoformat(known.decode()) if known else None
        until = now - LAG
        if since is not None and until <= since:
            return 0
        closed = usage.closed_rounds(since=since, until=until, least_s=LEAST_S, step=STEP)
        names = [keys.learnt(job_id) for job_id in closed]
        texts: list[Any] = client.mget(names) if names and since else [None] * len(names)
        with client.pipeline() as pipe:
            for name, text, more in zip(names, texts, closed.values(), strict=True):
                pipe.set(name, json.dumps(_merged(text, more)), ex=KEPT)
            pipe.set(keys.LEARNT, until.isoformat())
            pipe.execute()
        return len(closed)
    finally:
        client.delete(keys.LEARNING)


def read(job_ids: Iterable[UUID]) -> dict[UUID, Learnt]:
    """Return what was learnt of jobs; of those that have closed no round yet, nothing."""
    wanted = list(job_ids)
    names = [keys.learnt(one) for one in wanted]
    texts: list[Any] = connections.soft_state().mget(names) if names else []
    return {
        job_id: _learnt(json.loads(text))
        for job_id, text in zip(wanted, texts, strict=True)
        if text is not None
    }


def _merged(text: bytes | None, more: usage.ClosedRounds) -> dict[str, Any]:
    """Add rounds that have closed to what is kept of a job."""
    kept: dict[str, Any] = json.loads(text) if text else {}
    times = Times({int(bucket): count for bucket, count in kept.get("times", {}).items()})
    times.add(more.tasks)
    return {
        "times": {bucket: round(count, 3) for bucket, count in times.counts.items()},
        "tasks": kept.get("tasks", 0) + sum(more.tasks.values()),
        "tasks_s": kept.get("tasks_s", 0.0) + more.tasks_s,
        "held_s": kept.get("held_s", 0.0) + more.held_s,
        "last": more.last or kept.get("last"),
    }


def _learnt(kept: dict[str, Any]) -> Learnt:
    times = Times({int(bucket): count for bucket, count in kept["times"].items()})
    scheduling_s, response_s = kept["last"] or (0.0, 0.0)
    return Learnt(
        workload_s=kept["tasks_s"] / kept["tasks"] if kept["tasks"] else 0.0,
        median_s=times.quantile(0.5),
        p95_s=times.quantile(0.95),
        scheduling_s=scheduling_s,
        response_s=response_s,
        attained_s=kept["held_s"],
    )
