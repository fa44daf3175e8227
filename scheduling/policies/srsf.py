"""Shortest remaining service first: the round that needs fewest devices is served first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduling.policies.base import BadParameters, OpenRound, Plan, Snapshot, ordered_plan

MAX_WAIT_S = 300.0


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
        self.max_wait_s = _max_wait_s(parameters or {})

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return one order for all, least remaining demand first; O(R log R + Q·L)."""

        def need(one: OpenRound) -> tuple[int, float, float]:
            if self.max_wait_s and snapshot.now - one.opened_at >= self.max_wait_s:
                return 0, one.opened_at, 0.0
            return 1, float(one.remaining), one.submitted_at

        return ordered_plan(snapshot, need)


def _max_wait_s(parameters: Mapping[str, Any]) -> float:
    errors = {name: "unknown; max_wait_s is allowed" for name in parameters if name != "max_wait_s"}
    value = parameters.get("max_wait_s", MAX_WAIT_S)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value < float("inf"):
        errors["max_wait_s"] = f"{value!r}; a number of seconds, 0 for never, is allowed"
    if errors:
        raise BadParameters(errors)
    return float(value)
