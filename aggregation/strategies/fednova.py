"""FedNova: partial work, normalised.

References
----------
Wang et al., *Tackling the Objective Inconsistency Problem in Heterogeneous Federated
Optimization*, NeurIPS 2020, equations 5 and 6 with plain SGD, where ‖aᵢ‖₁ = τᵢ, the local steps
(arXiv 2007.07481): x ← x + τ_eff · Σ pᵢ·Δᵢ/τᵢ, with pᵢ = nᵢ/Σn and τ_eff = Σ pᵢ·τᵢ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from aggregation.strategies.base import Sum, WeightedSum, mean_change
from propius import strategies as settings


class FedNova(WeightedSum, settings.FedNova, frozen=True, kw_only=True):
    """The mean change per local step, times the mean number of steps."""

    by_steps: ClassVar[bool] = True

    def fold_weight(self, weight: float, steps: float) -> float:
        """Return nᵢ/τᵢ, so that the folded sum is Σ nᵢ·xᵢ/τᵢ."""
        return weight / max(1.0, steps)

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Go τ_eff · Σ(nᵢ/τᵢ)/Σn along the mean change: once, if all took equally many steps."""
        reach = summed.steps * summed.weight / (summed.examples or summed.weight)
        change = mean_change(base, summed)
        new = base.to(change.dtype, copy=True).add_(change, alpha=reach)
        return new.to(base.dtype), {}
