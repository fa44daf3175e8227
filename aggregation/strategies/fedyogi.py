"""FedYogi.

References
----------
Reddi et al., *Adaptive Federated Optimization*, ICLR 2021, algorithm 2 (arXiv 2003.00295):
m ← β₁·m + (1 − β₁)·Δ, v ← v − (1 − β₂)·Δ²·sign(v − Δ²), x ← x + η·m / (√v + τ), and v₋₁ = τ².
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from aggregation.strategies.base import Sum, WeightedSum, mean_change
from propius import strategies as settings


class FedYogi(WeightedSum, settings.FedYogi, frozen=True, kw_only=True):
    """Yogi over the mean change of the devices: v follows Δ² by steps that do not depend on v."""

    keeps: ClassVar[tuple[str, ...]] = ("mean", "square")

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Move both means, and go along the first over the root of the second."""
        change = mean_change(base, summed)
        mean = state["mean"].clone() if state else torch.zeros_like(change)
        square = state["square"].clone() if state else torch.full_like(change, self.tau * self.tau)
        mean.mul_(self.beta1).add_(change, alpha=1 - self.beta1)
        found = change.square()
        square.addcmul_(found, torch.sign(square - found), value=self.beta2 - 1)
        new = base.to(change.dtype, copy=True)
        new.addcdiv_(mean, square.sqrt().add_(self.tau), value=self.learning_rate)
        return new.to(base.dtype), {"mean": mean, "square": square}
