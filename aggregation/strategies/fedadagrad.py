"""FedAdagrad.

References
----------
Reddi et al., *Adaptive Federated Optimization*, ICLR 2021, algorithm 2 (arXiv 2003.00295) with
β₁ = 0: v ← v + Δ², x ← x + η·Δ / (√v + τ), and v₋₁ = τ².
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from aggregation.strategies.base import Sum, WeightedSum, mean_change
from propius import strategies as settings


class FedAdagrad(WeightedSum, settings.FedAdagrad, frozen=True, kw_only=True):
    """Adagrad over the mean change of the devices."""

    keeps: ClassVar[tuple[str, ...]] = ("squares",)

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Go along the change, the less the more each element has moved so far."""
        change = mean_change(base, summed)
        squares = (
            state["squares"].clone() if state else torch.full_like(change, self.tau * self.tau)
        )
        squares.addcmul_(change, change)
        new = base.to(change.dtype, copy=True)
        new.addcdiv_(change, squares.sqrt().add_(self.tau), value=self.learning_rate)
        return new.to(base.dtype), {"squares": squares}
