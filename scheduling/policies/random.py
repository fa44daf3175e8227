"""Random: every device that checks in tries the rounds in a new random order."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from scheduling.policies.base import BadParameters, OpenRound, Plan, Snapshot, ordered_plan


class Random:
    """Give each device to a round drawn at random among those it may take.

    With ``each = "device"`` the plan is the set of rounds, and the bind script draws the order at
    each check-in. No round starves: each has the same chance at every check-in. Priorities
    therefore have no effect here. With ``each = "round"`` the order of jobs is drawn anew for
    every round that opens, and a round that has begun to fill is filled first: Venn's baseline,
    without which nearly no round of a contended fleet would fill by its deadline.

    References
    ----------
    The baseline "Random" of Venn (arXiv 2312.08298, section 5).
    """

    name = "random"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        given = dict(parameters or {})
        self.each = given.pop("each", "device")
        errors = dict.fromkeys(given, "unknown; each is allowed")
        if self.each not in ("device", "round"):
            errors["each"] = f"{self.each!r}; device or round is allowed"
        if errors:
            raise BadParameters(errors)

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return the rounds of each signature, to be shuffled; O(R log R + Q·L)."""
        if self.each == "round":
            return ordered_plan(snapshot, _drawn)
        return ordered_plan(snapshot, _id, shuffled=True)


def _id(one: OpenRound) -> str:
    return one.id


def _drawn(one: OpenRound) -> tuple[bool, int]:
    return one.bound == 0, zlib.crc32(one.id.encode())
