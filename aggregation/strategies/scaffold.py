"""SCAFFOLD: averaging, corrected for how devices' data differ by control variates.

References
----------
Karimireddy et al., *SCAFFOLD: Stochastic Controlled Averaging for Federated Learning*, ICML 2020,
algorithm 1 and equations 4 and 5, option II (arXiv 1910.06378). The device
(``propius.agent.controls``) steps y ← y − η·(g(y) − cᵢ + c) and sends y and
Δcᵢ = cᵢ⁺ − cᵢ = (x − y)/(K·η) − c. The server, over the S devices of the round and the N of the
fleet: x ← x + η_g/|S| · Σ (yᵢ − x) and c ← c + 1/N · Σ Δcᵢ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from aggregation.strategies.base import Sum, WeightedSum, mean_change
from propius import strategies as settings
from propius.strategies import CONTROL


class Scaffold(WeightedSum, settings.Scaffold, frozen=True, kw_only=True):
    """The mean change, all devices alike, and the fleet's mean control variate as state."""

    keeps: ClassVar[tuple[str, ...]] = (CONTROL,)
    groups: ClassVar[tuple[str, ...]] = (CONTROL,)

    def fold_weight(self, weight: float, steps: float) -> float:
        """Count each device once: the paper's means are over devices."""
        return 1.0

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Go along the mean change, and move the control variate by the devices' share of it."""
        change = mean_change(base, summed)
        new = base.to(change.dtype, copy=True).add_(change, alpha=self.learning_rate)
        control = summed.groups[CONTROL] / self.population
        if state:
            control.add_(state[CONTROL])
        return new.to(base.dtype), {CONTROL: control}
