"""A job while it is simulated, and what a simulation ends with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from scheduling.policies import OpenRound
from scheduling.simulation.classes import TRANSFER_S
from scheduling.simulation.traces import SimulatedJob
from scheduling.times import Times, bucket_of

QUORUM = 0.8


class Running:
    """A job in the simulation: its current round and what is known of the rounds before."""

    __slots__ = (
        "aborted", "answers", "asked_at", "attained", "attempt", "bound", "busy_s", "closes_at",
        "demand", "dispatched", "filled_at", "finished_at", "free", "group", "id", "job", "known",
        "median_s", "number", "opened_at", "p95_s", "quorum", "responses_s", "rounds_left",
        "scheduling_s", "times", "took_s", "waits_s",
    )  # fmt: skip

    def __init__(self, number: int, job: SimulatedJob) -> None:
        self.number = number
        self.job = job
        self.id = ""
        self.group = job.group
        self.demand = job.participants
        self.quorum = job.participants * QUORUM
        self.rounds_left = job.rounds
        self.attempt = 0
        self.aborted = 0
        self.bound = 0
        self.free = 0
        self.dispatched = 0
        self.answers = 0
        self.opened_at = 0.0
        self.asked_at = 0.0
        self.filled_at = math.nan
        self.closes_at = math.inf
        self.finished_at = math.nan
        self.attained = 0.0
        self.busy_s = 0.0
        self.scheduling_s = 0.0
        self.waits_s: list[float] = []
        self.responses_s: list[float] = []
        self.known: OpenRound | None = None
        self.took_s: list[tuple[float, float]] = []
        self.times = Times()
        self.median_s = 0.0
        self.p95_s = 0.0

    def learn(self, now: float) -> None:
        """Take in what the devices took that had answered when this round closed, as production."""
        if self.took_s:
            answered = (took for ended_at, took in self.took_s if ended_at <= now)
            self.times.add(Counter(map(bucket_of, answered)))
            self.took_s.clear()
            self.median_s, self.p95_s = self.times.quantile(0.5), self.times.quantile(0.95)

    def ask(self, now: float) -> None:
        """Open the next attempt of the current round."""
        self.id = f"{self.job.id}.{self.attempt}"
        self.free = self.demand
        self.asked_at = now
        self.known = None

    def as_open_round(self) -> OpenRound:
        """Return what a policy sees of the round; made anew only when it has changed."""
        known = self.known
        if known is None or known.remaining != self.free:
            job = self.job
            known = self.known = OpenRound(
                id=self.id,
                job=job.id,
                tenant=job.tenant,
                group=self.group,
                demand=self.demand,
                remaining=self.free,
                rounds_left=self.rounds_left,
                priority=job.priority,
                submitted_at=job.arrival_s,
                opened_at=self.asked_at,
                quorum=math.ceil(self.quorum - 1e-9),
                bound=self.demand - self.free,
                deadline_at=self.closes_at,
                workload_s=job.workload_s + TRANSFER_S,
                scheduling_s=self.scheduling_s,
                response_s=self.responses_s[-1] if self.responses_s else 0.0,
                attained_s=self.attained,
                median_s=self.median_s,
                p95_s=self.p95_s,
            )
        return known


class Session:
    """A device while it is connected."""

    __slots__ = ("begun_at", "device", "ends_at", "kind", "place", "seen")

    def __init__(self, place: int, device: int, kind: int, ends_at: float) -> None:
        self.place = place
        self.device = device
        self.kind = kind
        self.ends_at = ends_at
        self.begun_at = 0.0
        self.seen: set[str] = set()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulation ends with; metrics are made of it.

    ``asking_s`` is the time in which some round had an open slot; platform rules only.
    """

    jobs: Sequence[Running]
    events: int
    plans: int
    check_ins: int
    ended_at: float
    started_at: float
    available_s: float
    group_rates: dict[str, float] = field(default_factory=dict)
    asking_s: float = 0.0
