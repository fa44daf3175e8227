"""Random: every device that checks in tries the rounds in a new random order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduling.policies.base import OpenRound, Plan, Snapshot, none_allowed, ordered_plan


class Random:
    """Give each device to a round drawn at random among those it may take.

    The plan is the set of rounds; the bind script draws the order at each request. No round
    starves: each has the same chance at every check-in. Priorities therefore have no effect here.

    References
    ----------
    The baseline "Random" of Venn (arXiv 2312.08298, section 5).
    """

    name = "random"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        none_allowed(parameters or {})

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return the rounds of each signature, to be shuffled; O(R log R + Q·L)."""
        return ordered_plan(snapshot, _id, shuffled=True)


def _id(one: OpenRound) -> str:
    return one.id
