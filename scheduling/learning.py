"""What jobs' rounds have taken, learnt once from each as it closes.

The sweep rolls closed rounds up into one small value a job in Redis, so that a plan never looks at
assignments. Soft state: once it is lost, the rounds of unfinished jobs are read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core import connections
from jobs import usage
from scheduling import keys, tiers
from scheduling.times import LEAST_S, STEP, Times

LAG = timedelta(seconds=2)
"""So long may the commit of a round's close take; what comes later is not learnt from."""
AT_WORK_S = 60
KEPT = timedelta(days=7)
LEAST_TASKS = 20
"""A p95 of fewer tasks would be that of one device."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a job's closed rounds have taken, in seconds.

    A task took ``workload_s`` on average, half of them at most ``median_s`` and 95 % ``p95_s``,
    older ones counting less and less. Its last train round took ``scheduling_s`` to bind devices
    and ``response_s`` from there to its close. ``attained_s`` is all that devices were held for.
    ``speeds`` are the times of tasks by the speed of their device (:mod:`scheduling.tiers`).
    """

    workload_s: float = 0.0
    median_s: float = 0.0
    p95_s: float = 0.0
    scheduling_s: float = 0.0
    response_s: float = 0.0
    attained_s: float = 0.0
    speeds: Mapping[int, Times] = field(default_factory=dict, repr=False)
    _ratios: dict[tiers.Bounds, tuple[float, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def ratios(self, bounds: tiers.Bounds) -> tuple[float, ...]:
        """Return, for each tier, the p95 of its tasks ÷ that of all; 1 where too few are known.

        Kept, for there is one plan a second and a new answer only after a round.
        """
        found = self._ratios.get(bounds)
        if found is None:
            found = self._ratios[bounds] = _ratios(self.speeds, bounds)
        return found


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
        closed = usage.closed_rounds(
            since=since, until=until, least_s=LEAST_S, step=STEP, score=tiers.SCORE
        )
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
    speeds = _speeds(kept)
    for speed, tasks in more.speeds.items():
        speeds.setdefault(tiers.UNKNOWN_SPEED if speed is None else speed, Times()).add(tasks)
    return {
        "times": _plain(times),
        "speeds": {speed: _plain(of_speed) for speed, of_speed in speeds.items()},
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
        speeds=_speeds(kept),
    )


def _speeds(kept: Mapping[str, Any]) -> dict[int, Times]:
    return {
        int(speed): Times({int(bucket): count for bucket, count in counts.items()})
        for speed, counts in kept.get("speeds", {}).items()
    }


def _plain(times: Times) -> dict[int, float]:
    return {bucket: round(count, 3) for bucket, count in times.counts.items()}


def _ratios(speeds: Mapping[int, Times], bounds: tiers.Bounds) -> tuple[float, ...]:
    whole = Times()
    of_tier = [Times() for _ in range(len(bounds) + 1)]
    for speed, times in speeds.items():
        whole.add(times.counts)
        of_tier[tiers.tier_of(speed, bounds)].add(times.counts)
    p95_s = whole.quantile(0.95)
    return tuple(
        one.quantile(0.95) / p95_s if sum(one.counts.values()) >= LEAST_TASKS else 1.0
        for one in of_tier
    )
