"""Propius: least remaining work first, scarce devices kept, no device to a round beyond help."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scheduling.policies import orders
from scheduling.policies.base import OpenRound, Plan, Snapshot, plan_in_order

SCARCITY, STICKINESS = 3.0, 0.8
HELP = 0.7
REACH = 0.55
TAIL = 2.0
MEDIAN, SIGMA = 1.64, 0.76
LEAST_SIGMA, P95 = 0.1, 1.645
"""σ is the logarithm of p95 / median over that of the normal distribution; never 0."""
SQRT_HALF = math.sqrt(0.5)
WAITED, HEADS, BEYOND = range(3)


class Propius:
    r"""Order rounds by what is left of their job, weighed by how scarce its devices are.

    A signature serves its eligible rounds in three passes: what rounds need for their quorum,
    then the slots beyond it, then the rounds that can no longer succeed.

    1. *Index.* ``work · (1 - 0.8 · filled) · share³``, least first. ``work`` is rounds left ×
       quorum: the shortest job first, counted in devices over all its rounds and not, as in
       Venn, over the current one. ``filled`` is the filled part of the round's quorum: a
       round that has begun is finished first, since half a round is worth nothing. ``share`` is
       the part of all check-ins that its group may take: a device that a picky job could use goes
       to a job that others can serve only if that is *much* shorter. (A power of 0 wastes scarce
       devices, infinity is Venn's step B and starves short jobs of the large groups; 2 to 4 are
       equally good.)
    2. *The head of a round* is its quorum. The slots beyond shorten the wait for the slowest
       devices of one round, and cost every waiting job a device: on a contended fleet they come
       after the heads of all, on an uncontended one no head is waiting and they come at once. Nor
       are they given so late that the device could hardly answer in time (2 typical tasks before
       the deadline): each such device raises the number of answers that the round then needs.
    3. *Help.* A round gets devices while 70 % of them can be expected to answer by its deadline,
       if it has the devices that wait and 55 % of its group's check-ins, and with response times
       log-normal, of the median and p95 learnt of the job or, until they are, spread as those of
       phones (median 1.64 × the typical task, σ 0.76). Others are served last.

    A round that has been open for ``max_wait_s`` goes before all; so none starves.

    Parameters
    ----------
    scarcity, stickiness
        The power of ``share`` and the weight of ``filled``.
    max_wait_s
        Seconds; 0 turns it off.

    Notes
    -----
    O(R log R + Q·L) like any order. Found on generated workloads (other arrivals, job mixes,
    sessions and fleet sizes than the reference files); see docs/policies.md for the figures.
    """

    name = "propius"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        values = orders.numbers(
            parameters or {},
            {
                "scarcity": (SCARCITY, 0.0, 20.0),
                "stickiness": (STICKINESS, 0.0, 1.0),
                **orders.MAX_WAIT,
            },
        )
        self.scarcity = values["scarcity"]
        self.stickiness = values["stickiness"]
        self.max_wait_s = values["max_wait_s"]

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return one queue for each set of groups: heads, slots beyond, rounds beyond help."""
        rates = orders.eligible_rates(snapshot.supply)
        total = sum(one.rate for one in snapshot.supply)
        weight = {
            group: (rate / total if total > 0 else 1.0) ** self.scarcity
            for group, rate in rates.items()
        }
        idle: dict[str, int] = {}
        for supply in snapshot.supply:
            if supply.idle:
                for group in supply.groups:
                    idle[group] = idle.get(group, 0) + supply.idle
        now = snapshot.now
        ordered = sorted(
            snapshot.rounds,
            key=lambda one: (self._rank(one, now, rates, weight, idle), one.submitted_at, one.id),
        )
        return plan_in_order(snapshot, ordered)

    def _rank(
        self,
        one: OpenRound,
        now: float,
        rates: Mapping[str, float],
        weight: Mapping[str, float],
        idle: Mapping[str, int],
    ) -> tuple[bool, int, int, float]:
        if orders.waited(one, now, self.max_wait_s):
            return False, -one.priority, WAITED, one.opened_at
        need = orders.quorum(one)
        left = one.deadline_at - now
        if one.bound >= need:
            late = left < TAIL / MEDIAN * spread(one)[0]
            return late, -one.priority, BEYOND, one.submitted_at
        missing = 1.0 - self.stickiness * one.bound / need
        index = one.rounds_left * need * missing * weight.get(one.group, 1.0)
        rate = rates.get(one.group, 0.0) * REACH
        # Where no check-in has been measured yet there is nothing to judge by.
        judged = left < math.inf and rate > 0
        lost = judged and expected_answers(one, left, rate, idle.get(one.group, 0)) < HELP * need
        return lost, -one.priority, HEADS, index


def expected_answers(one: OpenRound, left_s: float, rate: float, idle: int = 0) -> float:
    """Return how many of a round's quorum can be expected to answer within ``left_s``.

    ``rate`` is in devices per second, ``idle`` are eligible and wait already. Those bound are
    taken to have begun a task's time ago.
    """
    median, sigma = spread(one)
    missing = orders.quorum(one) - one.bound
    binding = max(0.0, (missing - idle) / rate)
    if binding > left_s:
        return 0.0
    if median <= 0:
        return float(one.bound + missing)
    bound = one.bound * _share(left_s + one.workload_s, median, sigma)
    if binding < 1.0:
        return bound + missing * _share(left_s, median, sigma)
    area = _area(left_s, median, sigma) - _area(left_s - binding, median, sigma)
    return bound + missing * area / binding


def spread(one: OpenRound) -> tuple[float, float]:
    """Return median and σ of the job's response times: as learnt, or as phones' in general."""
    if one.median_s <= 0:
        return MEDIAN * one.workload_s, SIGMA
    ratio = max(1.0, one.p95_s / one.median_s)
    return one.median_s, max(LEAST_SIGMA, math.log(ratio) / P95)


def _share(time_s: float, median: float, sigma: float) -> float:
    """Share of devices that have answered after ``time_s``."""
    if time_s <= 0:
        return 0.0
    return 0.5 + 0.5 * math.erf(math.log(time_s / median) / sigma * SQRT_HALF)


def _area(time_s: float, median: float, sigma: float) -> float:
    """Integral of ``_share`` from 0 to ``time_s``."""
    if time_s <= 0:
        return 0.0
    late = math.log(time_s / median) / sigma - sigma
    mean = median * math.exp(sigma * sigma / 2)
    return time_s * _share(time_s, median, sigma) - mean * (0.5 + 0.5 * math.erf(late * SQRT_HALF))
