"""Least attained service: the job that has had least of the fleet is served first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduling.policies import orders
from scheduling.policies.base import OpenRound, Plan, Snapshot, ordered_plan


class Las:
    """Serve rounds by the device-seconds that their job has had.

    Needs no estimate of what is to come, and so cannot be misled by one. A round open for
    ``max_wait_s`` goes first, so that a stream of new jobs starves none.

    References
    ----------
    Nuyens and Wierman, "The foreground-background queue: a survey", Performance Evaluation 65
    (2008); Tiresias (NSDI 2019) for training jobs.
    """

    name = "las"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        self.max_wait_s = orders.numbers(parameters or {}, orders.MAX_WAIT)["max_wait_s"]

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return one order for all, least attained first; O(R log R + Q·L)."""

        def key(one: OpenRound) -> tuple[int, float, float]:
            if orders.waited(one, snapshot.now, self.max_wait_s):
                return 0, one.opened_at, 0.0
            return 1, one.attained_s, one.submitted_at

        return ordered_plan(snapshot, key)
