"""Shortest remaining service first: the round that needs fewest devices is served first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduling.policies import orders
from scheduling.policies.base import OpenRound, Plan, Snapshot, ordered_plan


class Srsf:
    """Serve rounds by ascending remaining demand.

    Small rounds fill and end early, so the mean completion time falls, and large ones wait. So
    that none starves, a round that has been open for ``max_wait_s`` goes before all younger ones,
    oldest first; ``max_wait_s = 0`` turns that off.

    References
    ----------
    The baseline "SRSF" of Venn (arXiv 2312.08298, section 5); the order inside a constraint group
    of its Algorithm 1 is the same.
    """

    name = "srsf"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        self.max_wait_s = orders.numbers(parameters or {}, orders.MAX_WAIT)["max_wait_s"]

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return one order for all, least remaining demand first; O(R log R + Q·L)."""

        def need(one: OpenRound) -> tuple[int, float, float]:
            if orders.waited(one, snapshot.now, self.max_wait_s):
                return 0, one.opened_at, 0.0
            return 1, float(one.remaining), one.submitted_at

        return ordered_plan(snapshot, need)
