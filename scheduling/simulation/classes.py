"""The classes of devices that a policy may tell apart: signatures, speed tiers, lots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scheduling.policies import SignatureSupply
from scheduling.simulation.traces import Fleet

SPREAD = 2_654_435_761
"""Knuth's multiplier: neighbours in the trace fall into lots far apart."""
TYPICAL_COMPUTATION_MS = 78.0
TYPICAL_COMMUNICATION_KBPS = 13_736.0
TYPICAL_COMPUTE_S = 30.0
TRANSFER_S = 20.0
SUPPLY_WINDOW_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Classes:
    """The class of every session; class by class the signature, groups and tier.

    ``ratios`` is, for each tier, its p95 task time relative to the whole fleet's.
    """

    kinds: Sequence[int]
    names: tuple[str, ...]
    groups: tuple[frozenset[str], ...]
    tiers: tuple[int, ...]
    ratios: tuple[float, ...]


def divide(fleet: Fleet, *, lots: int = 1, tiers: int = 1) -> Classes:
    """Split each signature of ``fleet`` into ``tiers`` by speed, times ``lots`` at random."""
    speeds = _tiers(fleet, tiers)
    kinds: Sequence[int] = fleet.signatures
    if tiers > 1:
        kinds = [kind * tiers + tier for kind, tier in zip(kinds, speeds[0], strict=True)]
    if lots > 1:
        kinds = [kind * lots + place * SPREAD % 2**32 % lots for place, kind in enumerate(kinds)]
    names, groups, tier_of = [], [], []
    for number, members in enumerate(fleet.groups):
        for tier in range(tiers):
            for lot in range(lots):
                name = fleet.signature(number)
                name += f"~{tier}" if tiers > 1 else ""
                names.append(f"{name}#{lot}" if lots > 1 else name)
                groups.append(members)
                tier_of.append(tier)
    return Classes(kinds, tuple(names), tuple(groups), tuple(tier_of), speeds[1])


def _tiers(fleet: Fleet, tiers: int) -> tuple[Sequence[int], tuple[float, ...]]:
    if tiers < 2:
        return (), ()
    took = [
        TYPICAL_COMPUTE_S * milliseconds / TYPICAL_COMPUTATION_MS
        + TRANSFER_S * TYPICAL_COMMUNICATION_KBPS / kbps
        for milliseconds, kbps in zip(fleet.computation_ms, fleet.communication_kbps, strict=True)
    ]
    order = sorted(range(len(took)), key=took.__getitem__)
    tier = [0] * len(took)
    for rank, place in enumerate(order):
        tier[place] = rank * tiers // len(order)
    ordered = [took[place] for place in order]
    whole = ordered[int(0.95 * len(ordered))]
    size = len(ordered) / tiers
    return tier, tuple(ordered[int((one + 0.95) * size)] / whole for one in range(tiers))


class SupplyWindow:
    """Check-ins by class, as production measures them: a rate over the last day."""

    def __init__(self, classes: Classes, *, window_s: float = SUPPLY_WINDOW_S) -> None:
        self.classes = classes
        self.counts = [0] * len(classes.names)
        self.window_s = window_s
        self._kept: tuple[SignatureSupply, ...] = ()
        self._kept_until = -math.inf
        self._marks: list[tuple[float, list[int]]] = []
        self._began = math.nan

    def supply(self, now: float) -> tuple[SignatureSupply, ...]:
        """Return the rates, measured anew every minute, and every five after the first hour."""
        if now < self._kept_until:
            return self._kept
        if math.isnan(self._began):
            self._began = now - 60.0
        marks = self._marks
        marks.append((now, list(self.counts)))
        while len(marks) > 1 and marks[1][0] <= now - self.window_s:
            marks.pop(0)
        whole = now - marks[0][0] >= self.window_s
        since, base = marks[0] if whole else (self._began, [0] * len(self.counts))
        seconds = max(60.0, now - since)
        classes = self.classes
        self._kept = tuple(
            SignatureSupply(name, groups, rate=(count - before) / seconds, tier=tier)
            for name, groups, tier, count, before in zip(
                classes.names, classes.groups, classes.tiers, self.counts, base, strict=True
            )
        )
        self._kept_until = now + (300.0 if now - self._began > 3_600.0 else 60.0)
        return self._kept
