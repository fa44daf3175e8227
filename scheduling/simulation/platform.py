"""The platform's rules: devices stay connected, take task after task, and are pushed to."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Mapping, Sequence

from scheduling.policies import Policy, Share, SignatureSupply, Snapshot
from scheduling.simulation.classes import (
    TRANSFER_S,
    TYPICAL_COMMUNICATION_KBPS,
    TYPICAL_COMPUTATION_MS,
    SupplyWindow,
    divide,
)
from scheduling.simulation.engine import HORIZON_S, REOPEN_S, REPLAN_S
from scheduling.simulation.holding import Holdings, connected
from scheduling.simulation.running import Outcome, Running, Session
from scheduling.simulation.traces import Fleet, SimulatedJob

LEASE_S = 30.0
BOUNDED_S = 1.0
"""Where tenants are bounded, what they may take changes with every device that comes."""
ONLINE, OPEN, DEADLINE, ANSWER, LOST, RETRY = range(6)


class Platform:
    """One run under the platform's rules.

    A device waits in its signature's idle pool, serves a round once, and is free again when it
    has answered, until its session ends. A round binds demand × over-selection devices, closes
    when its demand has reported, or at its deadline with a quorum of 80 %. Short of that it is
    extended once and its bound devices stay; then it is repeated. The slot of a device that left
    comes back when its lease ends. With ``shares``, ceilings and lending limits bound what tenants
    take, and the policy sees them.
    """

    def __init__(
        self,
        fleet: Fleet,
        jobs: Sequence[SimulatedJob],
        policy: Policy,
        *,
        seed: int = 0,
        horizon_s: float = HORIZON_S,
        shares: Mapping[str, Share] | None = None,
    ) -> None:
        self.fleet = fleet
        self.policy = policy
        self.horizon_s = horizon_s
        self.draw = random.Random(seed)
        self.classes = divide(fleet, lots=getattr(policy, "lots", 1))
        self.window = SupplyWindow(self.classes)
        self.running = [Running(number, job) for number, job in enumerate(jobs)]
        tenants = {one.job.tenant for one in self.running}
        self.holdings = Holdings(tenants, shares) if shares is not None else None
        self.busy = [0] * len(self.classes.names)
        self.asking: dict[str, Running] = {}
        self.extended: set[str] = set()
        self.idle: list[deque[Session]] = [deque() for _ in self.classes.names]
        self.heap: list[tuple[float, int, int, int, str, Session | None]] = []
        self.order = 0
        self.now = 0.0
        self.slots = 0
        self.asking_s = 0.0
        self.plans = 0
        self.planned_at = -math.inf
        self.dirty = True
        self.walks: list[list[Running]] = [[] for _ in self.classes.names]
        self.left = len(self.running)
        for one in self.running:
            self._push(one.job.arrival_s, OPEN, one.number, "", None)

    def run(self) -> Outcome:
        """Replay until every job has finished, or to the horizon."""
        first = min((one.job.arrival_s for one in self.running), default=0.0)
        fleet, place, shift = self.fleet, 0, 0.0
        events = check_ins = 0
        while self.left:
            if place == len(fleet.starts):
                place, shift = 0, shift + fleet.period_s
            comes_at = fleet.starts[place] + shift
            happens_at = self.heap[0][0] if self.heap else math.inf
            until = min(happens_at, comes_at, self.horizon_s)
            if self.slots:
                self.asking_s += until - self.now
            if min(happens_at, comes_at) > self.horizon_s:
                self.now = self.horizon_s
                break
            if happens_at <= comes_at:
                self.now, _, what, number, round_id, session = heapq.heappop(self.heap)
                self._on(what, self.running[number], round_id, session)
            else:
                self.now = comes_at
                self._check_in(place, fleet.ends[place] + shift)
                check_ins += 1
                place += 1
            events += 1
        return Outcome(
            jobs=self.running,
            events=events,
            plans=self.plans,
            check_ins=check_ins,
            ended_at=self.now,
            started_at=first,
            available_s=fleet.available_s(first, self.now),
            group_rates=fleet.group_rates(),
            asking_s=self.asking_s,
        )

    def take(self, session: Session) -> Running | None:
        """Return the round that a free device is bound to; what a subclass may do otherwise."""
        for one in self.walks[session.kind]:
            if one.free and self.may(session, one):
                return one
        return None

    def may(self, session: Session, one: Running) -> bool:
        """Tell whether the device's own conditions allow the round."""
        job = one.job
        samples = self.fleet.samples
        return (
            one.id not in session.seen
            and job.trains_on(session.device)
            and (self.holdings is None or self.holdings.may(job.tenant))
            and (samples is None or samples[session.place] >= job.min_samples)
            and self.now + job.workload_s + TRANSFER_S <= session.ends_at
        )

    def waits(self, session: Session) -> None:
        """Put a device without a round into its idle pool."""
        self.idle[session.kind].append(session)

    def drain(self) -> None:
        """Offer what is open to the devices that wait; a class that finds nothing is left."""
        for kind, pool in enumerate(self.idle):
            if not pool or not any(one.free for one in self.walks[kind]):
                continue
            for _ in range(len(pool)):
                session = pool.popleft()
                if session.ends_at > self.now:
                    self._offer(session)

    def _check_in(self, place: int, ends_at: float) -> None:
        devices = self.fleet.devices
        kind = self.classes.kinds[place]
        self.window.counts[kind] += 1
        device = devices[place] if devices is not None else place
        self._replan()
        self._offer(Session(place, device, kind, ends_at))

    def _on(self, what: int, one: Running, round_id: str, session: Session | None) -> None:
        if session is not None and what in (ANSWER, LOST):
            self._free(one, session)
        if what == OPEN:
            self._open(one)
        elif what == DEADLINE:
            self._deadline(one, round_id)
        elif what == LOST:
            if round_id == one.id and one.id in self.asking:
                one.free += 1
                self.slots += 1
                self.dirty = True
        elif session is not None:
            if what == ANSWER and round_id == one.id:
                one.answers += 1
                one.took_s.append((self.now, self.now - session.begun_at))
                if one.answers >= one.demand:
                    self._close(one, succeeded=True)
            self._replan()
            self._offer(session)
        self._replan()

    def _offer(self, session: Session) -> None:
        if session.ends_at <= self.now:
            return
        one = self.take(session)
        if one is None:
            self.waits(session)
            return
        session.seen.add(one.id)
        session.begun_at = self.now
        self.busy[session.kind] += 1
        if self.holdings is not None:
            self.holdings.take(one.job.tenant)
            # The room that a plan gave out is used up: there may be more by now.
            self.dirty = self.dirty or not self.holdings.may(one.job.tenant)
        one.free -= 1
        self.slots -= 1
        one.bound += 1
        one.dispatched += 1
        one.attained += one.job.workload_s + TRANSFER_S
        if one.dispatched >= one.quorum and math.isnan(one.filled_at):
            one.filled_at = self.now
        self.dirty = self.dirty or not one.free
        fleet, place = self.fleet, session.place
        takes = (
            one.job.workload_s * fleet.computation_ms[place] / TYPICAL_COMPUTATION_MS
            + TRANSFER_S * TYPICAL_COMMUNICATION_KBPS / fleet.communication_kbps[place]
        )
        if self.now + takes <= session.ends_at:
            one.busy_s += takes
            self._push(self.now + takes, ANSWER, one.number, one.id, session)
        else:
            one.busy_s += session.ends_at - self.now
            self._push(session.ends_at + LEASE_S, LOST, one.number, one.id, session)

    def _open(self, one: Running) -> None:
        one.answers = one.dispatched = 0
        one.attempt += 1
        one.filled_at = math.nan
        one.opened_at = self.now
        one.closes_at = self.now + one.job.deadline_s
        one.ask(self.now)
        one.free = math.ceil(one.demand * one.job.over_selection - 1e-9)
        self.slots += one.free
        self.asking[one.id] = one
        self.dirty = True
        self._push(one.closes_at, DEADLINE, one.number, one.id, None)

    def _deadline(self, one: Running, round_id: str) -> None:
        if round_id != one.id or one.id not in self.asking:
            return
        if one.answers >= one.quorum:
            self._close(one, succeeded=True)
        elif one.id in self.extended:
            self._close(one, succeeded=False)
        else:
            self.extended.add(one.id)
            one.closes_at = self.now + one.job.deadline_s
            one.known = None
            self._push(one.closes_at, DEADLINE, one.number, one.id, None)

    def _close(self, one: Running, *, succeeded: bool) -> None:
        self.asking.pop(one.id, None)
        one.learn(self.now)
        self.dirty = True
        self.slots -= one.free
        one.id, one.free = "", 0
        if succeeded:
            filled_at = self.now if math.isnan(one.filled_at) else one.filled_at
            one.scheduling_s = filled_at - one.opened_at
            one.waits_s.append(one.scheduling_s)
            one.responses_s.append(self.now - filled_at)
            one.rounds_left -= 1
        else:
            one.aborted += 1
        if one.rounds_left:
            self._push(self.now + REOPEN_S, OPEN, one.number, "", None)
        else:
            one.finished_at = self.now
            self.left -= 1

    def _replan(self) -> None:
        bounded = self.holdings is not None and self.holdings.room
        period_s = BOUNDED_S if bounded else REPLAN_S
        if not self.dirty and self.now - self.planned_at < period_s:
            return
        self.dirty, self.planned_at = False, self.now
        self.plans += 1
        snapshot = self._snapshot()
        if self.holdings is not None:
            self.holdings.planned(snapshot)
        plan = self.policy.plan(snapshot)
        self.walks = [
            [self.asking[one] for one in plan.rounds_of(name)] for name in self.classes.names
        ]
        self.drain()

    def _snapshot(self) -> Snapshot:
        rounds = tuple(one.as_open_round() for one in self.asking.values() if one.free)
        supply: tuple[SignatureSupply, ...] = self.window.supply(self.now)
        if self.holdings is None:
            return Snapshot(self.now, rounds, supply)
        names = self.classes.names
        idle = {
            name: sum(one.ends_at > self.now for one in pool)
            for name, pool in zip(names, self.idle, strict=True)
        }
        busy = dict(zip(names, self.busy, strict=True))
        return Snapshot(
            self.now, rounds, connected(supply, idle, busy), self.holdings.shares(self.now)
        )

    def _free(self, one: Running, session: Session) -> None:
        self.busy[session.kind] -= 1
        if self.holdings is not None:
            self.holdings.give_back(one.job.tenant, self.now - session.begun_at, self.now)
            self.dirty = self.dirty or one.job.tenant in self.holdings.room

    def _push(
        self, at: float, what: int, number: int, round_id: str, session: Session | None
    ) -> None:
        self.order += 1
        heapq.heappush(self.heap, (at, self.order, what, number, round_id, session))
