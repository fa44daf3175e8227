"""The last hours as they were recorded, replayed in the simulator under another policy or share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from core.errors import NotFound
from jobs import usage
from jobs.constraints import Group, Profile
from scheduling.models import FleetMinute, ProfileRecord
from scheduling.policies import Policy, Share
from scheduling.simulation import metrics
from scheduling.simulation.platform import Platform
from scheduling.simulation.running import Running
from scheduling.simulation.traces import Fleet, SimulatedJob

STAY_S = 3_600.0
"""How long a device that checked in is taken to stay; the record does not tell."""
TYPICAL_MS, TYPICAL_KBPS, TRANSFER_S = 78.0, 13_736.0, 20.0
"""The simulator's typical device: all are, so that a task takes what the job's tasks have taken."""
TASK_S = 60.0
"""What a task is taken to last in a job of which no device has reported yet."""


class NothingRecorded(NotFound):
    """No check-in or no round was recorded in that time."""

    code = "nothing_recorded"


@dataclass(frozen=True, slots=True)
class TenantReplay:
    """How one tenant's recorded demand would have fared; None for what never came about.

    ``waiting_s`` is how long its rounds waited for their quorum of devices on average.
    """

    tenant: str
    jobs: int
    finished: int
    mean_completion_s: float | None
    waiting_s: float | None
    device_s: float


@dataclass(frozen=True, slots=True)
class Replay:
    """How the recorded demand would have fared; None for what never came about.

    ``utilisation`` is busy ÷ available device-seconds, idle devices counted.
    """

    policy: str
    jobs: int
    finished: int
    mean_completion_s: float | None
    median_completion_s: float | None
    waiting_s: float | None
    rounds_aborted: int
    utilisation: float | None
    tenants: tuple[TenantReplay, ...]


def recorded(*, since: datetime, now: datetime) -> tuple[Fleet, list[SimulatedJob]]:
    """Build a trace of the minutes from ``since`` to ``now``. Raises NothingRecorded."""
    minutes = list(FleetMinute.objects.filter(at__gte=since, at__lt=now).order_by("at"))
    groups: dict[str, Any] = {}
    for row in minutes:
        groups |= row.demand.get("groups", {})
    fleet = _fleet(minutes, [Group.of(one) for one in groups.values()], since, now)
    jobs = _jobs(minutes, since, now)
    if fleet is None or not jobs:
        raise NothingRecorded(
            f"no check-in or no round was recorded since {since:%Y-%m-%d %H:%M} UTC"
        )
    return fleet, jobs


def minutes_recorded(*, since: datetime, now: datetime) -> int:
    """Return of how many minutes there is a record."""
    return FleetMinute.objects.filter(at__gte=since, at__lt=now).count()


def replay(
    fleet: Fleet,
    jobs: Sequence[SimulatedJob],
    policy: Policy,
    *,
    shares: Mapping[str, Share],
    seed: int = 0,
) -> Replay:
    """Run one policy, made for this, over a trace, under the platform's rules.

    The sessions are repeated until every job has finished, at most ten times.
    """
    horizon_s = fleet.period_s * 10
    outcome = Platform(
        fleet, jobs, policy, seed=seed, horizon_s=horizon_s, shares=shares
    ).run()  # fmt: skip
    found = metrics.report(outcome)
    times = [one["completion_time_s"] for one in found["by_job"] if one["completion_time_s"]]
    return Replay(
        policy=policy.name,
        jobs=len(jobs),
        finished=len(times),
        mean_completion_s=metrics.mean(times),
        median_completion_s=metrics.quantile(times, 0.5),
        waiting_s=found["mean_scheduling_delay_s"],
        rounds_aborted=found["rounds_aborted"],
        utilisation=found["utilisation"],
        tenants=tuple(_of_tenant(name, outcome.jobs) for name in found["by_tenant"]),
    )


def _of_tenant(tenant: str, jobs: Iterable[Running]) -> TenantReplay:
    mine = [one for one in jobs if one.job.tenant == tenant]
    ended = [one for one in mine if one.finished_at == one.finished_at]
    return TenantReplay(
        tenant=tenant,
        jobs=len(mine),
        finished=len(ended),
        mean_completion_s=metrics.mean([one.finished_at - one.job.arrival_s for one in ended]),
        waiting_s=metrics.mean([wait for one in mine for wait in one.waits_s]),
        device_s=sum(one.busy_s for one in mine),
    )


def _fleet(
    minutes: Sequence[FleetMinute], groups: Sequence[Group], since: datetime, now: datetime
) -> Fleet | None:
    """Spread the check-ins of each minute evenly over it, in turn of their profiles."""
    seen = {key for row in minutes for key in row.supply}
    records = ProfileRecord.objects.filter(key__in=seen).values_list("key", "profile")
    meets: dict[str, frozenset[str]] = {}
    for key, plain in records:
        profile = Profile(plain["attributes"], plain["workloads"], plain["pool"])
        meets[key] = frozenset(group.id for group in groups if group.admits(profile))
    kinds = sorted(set(meets.values()), key=sorted)
    number = {kind: place for place, kind in enumerate(kinds)}
    starts: list[float] = []
    signatures: list[int] = []
    for row in minutes:
        known = [(key, count) for key, count in sorted(row.supply.items()) if key in meets]
        began = (row.at - since).total_seconds()
        came = sorted(
            ((turn + 0.5) * 60.0 / count, key) for key, count in known for turn in range(count)
        )
        starts += [began + at for at, _ in came]
        signatures += [number[meets[key]] for _, key in came]
    if not starts:
        return None
    return Fleet(
        starts=starts,
        ends=[at + STAY_S for at in starts],
        signatures=signatures,
        groups=tuple(kinds),
        computation_ms=[TYPICAL_MS] * len(starts),
        communication_kbps=[TYPICAL_KBPS] * len(starts),
        period_s=(now - since).total_seconds(),
    )


def _jobs(minutes: Sequence[FleetMinute], since: datetime, now: datetime) -> list[SimulatedJob]:
    """Return the jobs whose train rounds opened, with as many rounds as opened."""
    opened: dict[str, list[dict[str, Any]]] = {}
    for row in minutes:
        for one in row.demand.get("rounds", ()):
            if one["kind"] == "train":
                at = (row.at - since + timedelta(seconds=one["after_s"])).total_seconds()
                opened.setdefault(one["job"], []).append(one | {"at": at})
    pasts = usage.pasts([UUID(one) for one in opened], now=now)
    jobs = []
    for job, rounds in opened.items():
        first, past = rounds[0], pasts.get(UUID(job))
        task_s = past.workload_s if past and past.workload_s else TASK_S
        jobs.append(
            SimulatedJob(
                id=job,
                arrival_s=first["at"],
                group=first["group"],
                participants=first["demand"],
                rounds=len({one["number"] for one in rounds}),
                deadline_s=first["selection_s"] + first["deadline_s"],
                workload_s=max(1.0, task_s - TRANSFER_S),
                tenant=first["tenant"],
                priority=first["priority"],
                over_selection=max(1.0, first.get("target", 0) / first["demand"]),
                held_out=first.get("held_out", 0.0),
            )
        )
    return sorted(jobs, key=lambda one: (one.arrival_s, one.id))
