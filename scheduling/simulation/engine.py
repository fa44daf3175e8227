"""The reference rules: devices come once, rounds have a deadline and are repeated."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence

from scheduling.policies import Plan, Policy, Share, Snapshot
from scheduling.simulation.classes import (
    TRANSFER_S,
    TYPICAL_COMMUNICATION_KBPS,
    TYPICAL_COMPUTATION_MS,
    SupplyWindow,
    divide,
)
from scheduling.simulation.running import QUORUM, Outcome, Running
from scheduling.simulation.traces import Fleet, SimulatedJob

REOPEN_S = 0.1
DISPATCH_S = 2.0
REPLAN_S = 30.0
HALF_LIFE_S = 86_400.0
HORIZON_S = 3.0e6

OPEN, DEADLINE, DISPATCH, ANSWER = range(4)


class Reference:
    """One run under the reference rules.

    A device checks in once, at its session's start, and takes at most one task. A round asks
    ``REOPEN_S`` after the last one closed, ends as soon as 80 % of its participants have
    answered, succeeds by its deadline with 80 % dispatched and 80 % of those answered, else is
    repeated.

    The policy plans when a round opens, fills or closes and every ``REPLAN_S``, as production
    does; between two plans a check-in only walks the queues of its signature.
    """

    def __init__(
        self,
        fleet: Fleet,
        jobs: Sequence[SimulatedJob],
        policy: Policy,
        *,
        seed: int = 0,
        tiers: int = 1,
        horizon_s: float = HORIZON_S,
    ) -> None:
        self.fleet = fleet
        self.policy = policy
        self.horizon_s = horizon_s
        self.draw = random.Random(seed)
        self.running = [Running(number, job) for number, job in enumerate(jobs)]
        self.asking: dict[str, Running] = {}
        self.heap: list[tuple[float, int, int, int, float]] = []
        self.order = 0
        self.plans = 0
        tiers = max(tiers, getattr(policy, "tiers", 1))
        self.classes = divide(fleet, lots=getattr(policy, "lots", 1), tiers=tiers)
        self.window = SupplyWindow(self.classes)
        self.used = {one.job.tenant: (0.0, 0.0) for one in self.running}
        for place, one in enumerate(self.running):
            self._begin(place, one, one.job.arrival_s)

    def run(self) -> Outcome:
        """Replay until every job has finished, or to the horizon.

        One long loop on local names: a call for each event would halve the events per second.
        """
        fleet, heap, window = self.fleet, self.heap, self.window
        starts, ends, kinds = fleet.starts, fleet.ends, self.classes.kinds
        computation, communication = fleet.computation_ms, fleet.communication_kbps
        running, uniform, push = self.running, self.draw.random, heapq.heappush
        count = len(starts)
        left = len(running)
        many = len(self.used) > 1
        events = check_ins = 0
        place, shift = 0, 0.0
        first = self.running[0].job.arrival_s if running else 0.0
        while place < count and starts[place] < first:
            place += 1  # before the first job nobody is waiting for devices
        dirty, planned_at = True, -math.inf
        walks: list[list[Running] | None] = []
        plan = Plan({}, {})
        ended_at = first
        while left:
            if place == count:
                place, shift = 0, shift + fleet.period_s
            now = starts[place] + shift
            over = now > self.horizon_s
            now = self.horizon_s if over else now
            while heap[0][0] <= now:
                at, _, what, number, more = heapq.heappop(heap)
                one = running[number]
                if what == DISPATCH:
                    one.dispatched += 1
                    one.bound += 1
                    if many:
                        self._use(one.job, at)
                    if one.free > 0:
                        one.free -= 1
                        one.attained += one.job.workload_s + TRANSFER_S
                        if not one.free:
                            del self.asking[one.id]
                            dirty = True
                        if one.dispatched >= one.quorum and one.filled_at != one.filled_at:
                            one.filled_at = at
                    if more < math.inf:
                        one.took_s.append((at + more, more))
                        self.order += 1
                        push(heap, (at + more, self.order, ANSWER, number, one.attempt))
                    continue
                events += 1
                if what == ANSWER:
                    if more != one.attempt:
                        continue
                    one.answers += 1
                    if one.answers < one.quorum:
                        continue
                elif what == OPEN:
                    one.ask(at)
                    self.asking[one.id] = one
                    dirty = True
                    continue
                elif at != one.closes_at:
                    continue
                dirty = True
                if self._close(number, one, at):
                    left -= 1
                    ended_at = at
                    if not left:
                        break
            else:
                if over:
                    ended_at = now
                    break
                events += 1
                check_ins += 1
                kind = kinds[place]
                window.counts[kind] += 1
                if dirty or now - planned_at >= REPLAN_S:
                    plan = self._plan(now)
                    walks = [None] * len(self.classes.names)
                    dirty, planned_at = False, now
                walk = walks[kind]
                if walk is None:  # most classes see no device between two plans
                    walk = walks[kind] = self._walk(plan, kind)
                if walk:
                    at = now + DISPATCH_S * uniform()
                    end = ends[place] + shift
                    if plan.shuffled:
                        self.draw.shuffle(walk)
                    for one in walk:
                        job = one.job
                        if one.free and at + job.workload_s + TRANSFER_S <= end:
                            break
                    else:
                        place += 1
                        continue
                    takes = (
                        job.workload_s * computation[place] / TYPICAL_COMPUTATION_MS
                        + TRANSFER_S * TYPICAL_COMMUNICATION_KBPS / communication[place]
                    )
                    if at + takes > end:
                        one.busy_s += end - at
                        takes = math.inf
                    else:
                        one.busy_s += takes
                    self.order += 1
                    push(heap, (at, self.order, DISPATCH, one.number, takes))
                place += 1
                continue
        return Outcome(
            jobs=running,
            events=events,
            plans=self.plans,
            check_ins=check_ins,
            ended_at=ended_at,
            started_at=first,
            available_s=fleet.available_s(first, ended_at),
            group_rates=fleet.group_rates(),
        )

    def _begin(self, place: int, one: Running, at: float) -> None:
        one.answers = one.dispatched = one.free = 0
        one.attempt += 1
        one.opened_at = at
        one.filled_at = math.nan
        one.closes_at = at + one.job.deadline_s
        self.order += 2
        heapq.heappush(self.heap, (at + REOPEN_S, self.order - 1, OPEN, place, 0.0))
        heapq.heappush(self.heap, (one.closes_at, self.order, DEADLINE, place, 0.0))

    def _close(self, place: int, one: Running, at: float) -> bool:
        """Close the current attempt and open the next one; tell whether the job has finished."""
        self.asking.pop(one.id, None)
        one.learn(at)
        asked = min(one.dispatched, one.demand)
        if one.dispatched >= one.quorum and one.answers >= asked * QUORUM:
            one.scheduling_s = one.filled_at - one.opened_at
            one.waits_s.append(one.scheduling_s)
            one.responses_s.append(at - one.filled_at)
            one.rounds_left -= 1
            if not one.rounds_left:
                one.finished_at = at
                one.free = 0
                one.closes_at = one.quorum = math.inf  # a device on its way answers to nobody
                return True
        else:
            one.aborted += 1
        self._begin(place, one, at)
        return False

    def _plan(self, now: float) -> Plan:
        self.plans += 1
        return self.policy.plan(
            Snapshot(
                now=now,
                rounds=tuple(one.as_open_round() for one in self.asking.values()),
                supply=self.window.supply(now),
                shares=self._shares(now),
                tiers=self.classes.ratios,
            )
        )

    def _walk(self, plan: Plan, kind: int) -> list[Running]:
        asking = self.asking
        ids = plan.rounds_of(self.classes.names[kind])
        return [asking[one] for one in ids if one in asking]

    def _use(self, job: SimulatedJob, now: float) -> None:
        """Count a device for its tenant; what it had before halves every ``HALF_LIFE_S``."""
        used, since = self.used[job.tenant]
        decayed = used * 0.5 ** ((now - since) / HALF_LIFE_S)
        self.used[job.tenant] = decayed + job.workload_s + TRANSFER_S, now

    def _shares(self, now: float) -> dict[str, Share]:
        if len(self.used) < 2:
            return {}
        return {
            tenant: Share(used_s=used * 0.5 ** ((now - since) / HALF_LIFE_S))
            for tenant, (used, since) in self.used.items()
        }
