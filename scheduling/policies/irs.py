"""Intersection resource scheduling: Venn's plan for groups of jobs that share devices."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scheduling.policies import orders
from scheduling.policies.base import (
    BadParameters,
    OpenRound,
    Plan,
    SignatureSupply,
    Snapshot,
)

MOST_TIERS = 10.0


class Irs:
    r"""Venn: inside a group least remaining demand first; shared devices to where jobs wait most.

    With G_k the rounds of equal public constraints and S_k the check-in rate that group k is
    given:

    - (A) Inside a group, ascending remaining demand of the round.
    - (B) Groups by ascending supply: each takes the signatures that scarcer ones have not taken.
    - (C) Groups by descending supply: group j takes its signatures of each scarcer k, the next
      most abundant first, while m_j / S_j > queue_k / S_k. m_j are the jobs of j that would wait
      at least as long as all of k's load takes. Loads, queues and supplies merge as it goes.
    - (D) Where the snapshot tells V > 1 speed tiers apart: the head round of a group is
      restricted to one tier u, drawn for it, iff V + c·g_u < 1 + c, with c its job's last
      response time / scheduling time and g_u the tier's p95 response to the whole fleet's, or to
      that of all the job's devices where it is known. If the group's devices of that tier are
      fewer than its part, V is how many times fewer they are. The round is open to all again once
      it has waited for what the tier was to save, or for half of its selection window.
    - (E) ``fairness`` ε: demand × (t_i / T_i)^ε and queue × (ΣT / Σt)^ε, with t_i what the job
      has had and T_i its fair share: jobs × its time alone. 0 is speed only, large max-min.

    ``tiers`` is how many speed classes a snapshot is to tell apart; 1 turns step D off.

    A signature whose group has no round left before the next plan serves the other groups. A
    round open for ``max_wait_s`` goes first in its group, and its group keeps its signatures.

    References
    ----------
    Venn (arXiv 2312.08298), section 4, Algorithm 1 and 2.
    """

    name = "irs"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        allowed = {
            "fairness": (0.0, 0.0, 100.0), "tiers": (1.0, 1.0, MOST_TIERS), **orders.MAX_WAIT
        }  # fmt: skip
        values = orders.numbers(parameters or {}, allowed)
        self.tiers = int(values["tiers"])
        if self.tiers != values["tiers"]:
            wrong = f"{values['tiers']:g}; a whole number from 1 to {MOST_TIERS:g} is allowed"
            raise BadParameters({"tiers": wrong})
        self.fairness = values["fairness"]
        self.max_wait_s = values["max_wait_s"]

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return a queue a group, its own first for each signature; O(R log R + S·G + G²·R)."""
        jobs = {one.job for one in snapshot.rounds}
        rates = orders.eligible_rates(snapshot.supply)
        groups: dict[str, Group] = {}
        for one in sorted(snapshot.rounds, key=lambda one: one.id):
            group = groups.setdefault(one.group, Group(one.group, rates.get(one.group, 0.0)))
            group.add(one, *self._fair(one, len(jobs), group.supply))
        for group in groups.values():
            group.queue.sort(key=lambda item: self._order(item, snapshot.now))
        share(tuple(groups.values()), snapshot.supply, fairness=self.fairness)
        return _published(snapshot, groups, self._restricted(snapshot, groups))

    def _restricted(self, snapshot: Snapshot, groups: Mapping[str, Group]) -> dict[str, int]:
        """Return the groups whose head round is restricted to a tier, with it: step D."""
        if len(snapshot.tiers) < 2:
            return {}
        parts = {name: [0.0] * len(snapshot.tiers) for name in groups}
        for supply in snapshot.supply:
            for name in supply.groups & parts.keys():
                parts[name][supply.tier] += supply.rate
        found = {}
        for name, group in groups.items():
            head = group.queue[0][1]
            tier = _tier(head, head.tiers or snapshot.tiers, parts[name], snapshot.now)
            if tier is not None and not orders.waited(head, snapshot.now, self.max_wait_s):
                found[name] = tier
        return found

    def _order(self, item: tuple[float, OpenRound], now: float) -> tuple[int, int, float, float]:
        demand, one = item
        if orders.waited(one, now, self.max_wait_s):
            return 0, -one.priority, one.opened_at, 0.0
        return 1, -one.priority, demand, one.submitted_at

    def _fair(self, one: OpenRound, jobs: int, rate: float) -> tuple[float, float, float]:
        """Return demand under (E), t_i and T_i, in seconds."""
        if not self.fairness:
            return float(one.remaining), 1.0, 1.0
        alone = one.demand / max(rate, 1e-9) + (one.response_s or one.p95_s or one.workload_s)
        rounds_done = one.attained_s / max(1.0, one.demand * one.workload_s)
        had = max(1.0, rounds_done * alone)
        fair = max(1.0, jobs * (rounds_done + one.rounds_left) * alone)
        return one.remaining * float((had / fair) ** self.fairness), had, fair


@dataclass(slots=True)
class Group:
    """The rounds of one constraint group, and the devices that they are given."""

    name: str
    supply: float
    queue: list[tuple[float, OpenRound]]
    signatures: list[SignatureSupply]
    given: float
    had: float
    fair: float

    def __init__(self, name: str, supply: float) -> None:
        self.name, self.supply = name, supply
        self.queue, self.signatures = [], []
        self.given = self.had = self.fair = 0.0

    def add(self, one: OpenRound, demand: float, had: float, fair: float) -> None:
        """Take a round in, with its demand under the fairness setting."""
        self.queue.append((demand, one))
        self.had += had
        self.fair += fair


def share(
    groups: Sequence[Group], supply: Iterable[SignatureSupply], *, fairness: float = 0.0
) -> None:
    """Give every signature to one of the groups that may have it: steps B and C."""
    ascending = sorted(groups, key=lambda one: (one.supply, one.name))
    rank = {one.name: place for place, one in enumerate(ascending)}
    for signature in supply:
        scarcest = min((rank[name] for name in signature.groups & rank.keys()), default=None)
        if scarcest is not None:
            ascending[scarcest].signatures.append(signature)
            ascending[scarcest].given += signature.rate
    length = {one.name: len(one.queue) * (one.fair / one.had) ** fairness for one in groups}
    loads = {
        one.name: [(demand, max(one.given, 1e-9)) for demand, _ in one.queue] for one in groups
    }
    for place in range(len(ascending) - 1, 0, -1):
        taker = ascending[place]
        for scarcer in reversed(ascending[:place]):
            if taker.given <= 0:
                break
            if scarcer.given <= 0:
                continue
            waiting = delayed(loads[taker.name], loads[scarcer.name])
            if not waiting / taker.given > length[scarcer.name] / scarcer.given:
                break
            moved = _move(scarcer, taker)
            if moved:
                length[taker.name] += length[scarcer.name]
                mine = [(demand, rate + moved) for demand, rate in loads[taker.name]]
                loads[taker.name] = mine + loads[scarcer.name]


def delayed(load: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]) -> int:
    """Count the jobs of ``load`` that wait at least as long as the whole of ``other`` takes.

    Both are (demand, check-ins per second) in the order of service.

    >>> delayed([(10, 1.0), (10, 1.0), (10, 1.0)], [(15, 1.0)])
    1
    """
    target = sum(demand / rate for demand, rate in other)
    took = 0.0
    for place, (demand, rate) in enumerate(load):
        took += demand / rate
        if took >= target:
            return place
    return len(load)


def _move(scarcer: Group, taker: Group) -> float:
    shared = [one for one in scarcer.signatures if taker.name in one.groups]
    if not shared:
        return 0.0
    scarcer.signatures = [one for one in scarcer.signatures if taker.name not in one.groups]
    taker.signatures += shared
    moved = sum(one.rate for one in shared)
    scarcer.given = max(0.0, scarcer.given - moved) if scarcer.signatures else 0.0
    taker.given += moved
    return moved


def _published(snapshot: Snapshot, groups: Mapping[str, Group], tiers: Mapping[str, int]) -> Plan:
    owner = {one.signature: group.name for group in groups.values() for one in group.signatures}
    ascending = sorted(groups.values(), key=lambda one: (one.supply, one.name))
    rank = {one.name: place for place, one in enumerate(ascending)}
    queues: dict[str, tuple[str, ...]] = {}
    signatures: dict[str, tuple[str, ...]] = {}
    for supply in snapshot.supply:
        mine = owner.get(supply.signature)
        names = sorted(supply.groups & rank.keys(), key=rank.__getitem__)
        if mine is not None:
            names.remove(mine)
            names.insert(0, mine)
        shown = []
        for name in names:
            tier = tiers.get(name)
            rest = tier is not None and tier != supply.tier
            key = f"{name} without head" if rest else name
            if key not in queues:
                queues[key] = tuple([one.id for _, one in groups[name].queue[rest:]])
            shown.append(key)
        signatures[supply.signature] = tuple(shown)
    return Plan(queues=queues, signatures=signatures)


def _tier(
    head: OpenRound, tiers: Sequence[float], parts: Sequence[float], now: float
) -> int | None:
    """Return the tier that the head round is restricted to, while that may be quicker: step D.

    ``parts`` are the check-ins per second that its group may have, by tier.
    """
    if head.scheduling_s <= 0 or head.response_s <= 0:
        return None
    chosen = random.Random(head.id).randrange(len(tiers))
    if not parts[chosen]:
        return None
    longer = max(float(len(tiers)), sum(parts) / parts[chosen])
    ratio = head.response_s / head.scheduling_s
    if not longer + ratio * tiers[chosen] < 1 + ratio:
        return None
    # Once it has waited for so long, even the fastest answers come no sooner than anybody's would.
    saved_s = head.scheduling_s + (1 - tiers[chosen]) * head.response_s
    window_s = head.selection_ends_at - head.opened_at
    return chosen if now - head.opened_at < min(saved_s, window_s / 2) else None
