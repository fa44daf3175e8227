"""FedBuff: a step for each full buffer, devices never wait for each other.

References
----------
Nguyen et al., *Federated Learning with Buffered Asynchronous Aggregation*, AISTATS 2022, algorithm
1 (arXiv 2106.06639): Δ̄ = 1/K · Σ s(τᵢ)·Δᵢ over the K updates of the buffer, x ← x + η·Δ̄, where Δᵢ
is a device's change of the version that it began from and τᵢ how many steps back that is;
s(τ) = (1 + τ)^−a, of section 6 with a = ½. Changes are weighted by examples too, as in FedAvg.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from aggregation.strategies.base import Sum, WeightedSum, mean_change
from propius import strategies as settings


class FedBuff(WeightedSum, settings.FedBuff, frozen=True, kw_only=True):
    """The mean change of the buffer, the older the less.

    Examples
    --------
    >>> [FedBuff().discount(staleness) for staleness in (0, 3)]
    [1.0, 0.5]
    """

    by_staleness: ClassVar[bool] = True

    def discount(self, staleness: int) -> float:
        """Return s(τ)."""
        return float((1 + staleness) ** -self.staleness_exponent)

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Go η along the mean change; a discounted one pulls as if its device stood still."""
        change = mean_change(base, summed)
        new = base.to(change.dtype, copy=True).add_(change, alpha=self.learning_rate)
        return new.to(base.dtype), {}
