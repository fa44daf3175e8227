"""What a simulation is judged by: of every job, every tenant, and over all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from scheduling.simulation.running import Outcome, Running


def report(outcome: Outcome) -> dict[str, Any]:
    """Return the metrics as plain JSON values; a time that never came is None.

    ``utilisation`` is busy ÷ available device-seconds from the first arrival to the end, idle
    devices counted. ``jain`` is Jain's index over tenants' device-seconds.
    """
    jobs = outcome.jobs
    times = [one.finished_at - one.job.arrival_s for one in jobs if _finished(one)]
    ended = [one.finished_at for one in jobs if _finished(one)]
    busy_s = sum(one.busy_s for one in jobs)
    return {
        "jobs": len(jobs),
        "jobs_finished": len(times),
        "mean_completion_time_s": mean(times),
        "p50_completion_time_s": quantile(times, 0.5),
        "p95_completion_time_s": quantile(times, 0.95),
        "makespan_s": max(ended) - outcome.started_at if ended else None,
        "rounds_succeeded": sum(len(one.waits_s) for one in jobs),
        "rounds_aborted": sum(one.aborted for one in jobs),
        "mean_scheduling_delay_s": mean([wait for one in jobs for wait in one.waits_s]),
        "mean_response_time_s": mean([took for one in jobs for took in one.responses_s]),
        "busy_device_s": busy_s,
        "available_device_s": outcome.available_s,
        "utilisation": busy_s / outcome.available_s if outcome.available_s else None,
        "jobs_within_fair_share": within_fair_share(outcome),
        "jain": jain(_by_tenant(jobs).values()),
        "devices_bound": sum(one.bound for one in jobs),
        "events": outcome.events,
        "plans": outcome.plans,
        "by_tenant": {
            tenant: {
                "busy_device_s": used,
                "mean_completion_time_s": mean(
                    [
                        one.finished_at - one.job.arrival_s
                        for one in jobs
                        if one.job.tenant == tenant and _finished(one)
                    ]
                ),
            }
            for tenant, used in sorted(_by_tenant(jobs).items())
        },
        "by_job": [_job(one) for one in jobs],
    }


def _job(one: Running) -> dict[str, Any]:
    return {
        "job": one.job.id,
        "tenant": one.job.tenant,
        "completion_time_s": one.finished_at - one.job.arrival_s if _finished(one) else None,
        "rounds_succeeded": len(one.waits_s),
        "rounds_aborted": one.aborted,
        "mean_scheduling_delay_s": mean(one.waits_s),
        "mean_response_time_s": mean(one.responses_s),
        "busy_device_s": one.busy_s,
    }


def within_fair_share(outcome: Outcome) -> float | None:
    """Return the share of jobs that were no slower than M times as long as alone, M the jobs.

    Alone, a round takes its demand ÷ the check-ins that it may have, and its response time.
    """
    if not outcome.jobs:
        return None
    count = 0
    for one in outcome.jobs:
        rate = outcome.group_rates.get(one.job.group, 0.0)
        if _finished(one) and rate > 0:
            alone = one.job.rounds * (one.job.participants / rate + (mean(one.responses_s) or 0.0))
            count += one.finished_at - one.job.arrival_s <= len(outcome.jobs) * alone
    return count / len(outcome.jobs)


def jain(values: Iterable[float]) -> float | None:
    """Return Jain's index: 1 if all are equal, 1/n if one has everything.

    >>> jain([1, 1, 1, 1]), jain([1, 0, 0, 0])
    (1.0, 0.25)
    """
    listed = list(values)
    squares = sum(value * value for value in listed)
    return sum(listed) ** 2 / (len(listed) * squares) if squares else None


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None of nothing."""
    return statistics.fmean(values) if values else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the quantile by linear interpolation; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _finished(one: Running) -> bool:
    return not math.isnan(one.finished_at)


def _by_tenant(jobs: Iterable[Running]) -> dict[str, float]:
    used: dict[str, float] = {}
    for one in jobs:
        used[one.job.tenant] = used.get(one.job.tenant, 0.0) + one.busy_s
    return used
