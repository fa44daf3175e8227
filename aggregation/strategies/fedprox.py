"""FedProx: averaging of devices that are held near where they started.

References
----------
Li et al., *Federated Optimization in Heterogeneous Networks*, MLSys 2020, algorithm 2 and
equation 2 (arXiv 1812.06127). The proximal term μ/2·‖w − wᵗ‖² is the device's
(``propius.training.optimizers.corrected``): the job's ``strategy.mu`` becomes
``workload.train.proximal_mu``. The server averages.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from aggregation.strategies.base import Sum, WeightedSum
from propius import strategies as settings


class FedProx(WeightedSum, settings.FedProx, frozen=True, kw_only=True):
    """The weighted mean of the devices' tensors."""

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Divide the sum by the weight."""
        return summed.total.div_(summed.weight).to(base.dtype), {}
