"""First in, first out: the job that was submitted first is served first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduling.policies.base import OpenRound, Plan, Snapshot, none_allowed, ordered_plan


class Fifo:
    """Serve rounds by the time their jobs were submitted.

    No job starves: those before it are finite in number, and nobody joins before it.

    References
    ----------
    The baseline "FIFO" of Venn (arXiv 2312.08298, section 5).
    """

    name = "fifo"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        none_allowed(parameters or {})

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return one order for all, oldest job first; O(R log R + Q·L)."""
        return ordered_plan(snapshot, _age)


def _age(one: OpenRound) -> tuple[float, float]:
    return one.submitted_at, one.opened_at
