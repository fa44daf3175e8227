"""Shortest remaining time first: the job that is estimated to finish first is served first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduling.policies import orders
from scheduling.policies.base import OpenRound, Plan, Snapshot, ordered_plan


class Srtf:
    """Serve rounds by their job's estimated remaining time.

    That is rounds left × (time to bind a round's devices, if it had all that are eligible + its
    last response time, or else the p95 of its devices'). A round open for ``max_wait_s`` goes
    first, so none starves.

    References
    ----------
    Schrage, "A proof of the optimality of the shortest remaining processing time discipline",
    Operations Research 16 (1968).
    """

    name = "srtf"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        self.max_wait_s = orders.numbers(parameters or {}, orders.MAX_WAIT)["max_wait_s"]

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return one order for all, least remaining time first; O(R log R + Q·L)."""
        rates = orders.eligible_rates(snapshot.supply)

        def key(one: OpenRound) -> tuple[int, float, float]:
            if orders.waited(one, snapshot.now, self.max_wait_s):
                return 0, one.opened_at, 0.0
            binding = orders.quorum(one) / max(rates.get(one.group, 0.0), 1e-9)
            left = one.rounds_left * (binding + (one.response_s or one.p95_s or one.workload_s))
            return 1, left, one.submitted_at

        return ordered_plan(snapshot, key)
