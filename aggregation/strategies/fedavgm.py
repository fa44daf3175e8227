"""Federated averaging with server momentum.

References
----------
Hsu, Qi and Brown, *Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification*, 2019, section 4.3: v ← β·v + Δw, w ← w − v (arXiv 1909.06335). With a server
learning rate as in Reddi et al. (arXiv 2003.00295), and Δ pointing downhill: w ← w + η·v.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from aggregation.strategies.base import Sum, WeightedSum, mean_change
from propius import strategies as settings


class FedAvgM(WeightedSum, settings.FedAvgM, frozen=True, kw_only=True):
    """SGD with momentum over the mean change of the devices."""

    keeps: ClassVar[tuple[str, ...]] = ("velocity",)

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Add the change to what is left of the velocity, and go that way."""
        velocity = mean_change(base, summed)
        if state:
            velocity.add_(state["velocity"], alpha=self.momentum)
        new = base.to(velocity.dtype, copy=True).add_(velocity, alpha=self.learning_rate)
        return new.to(base.dtype), {"velocity": velocity}
