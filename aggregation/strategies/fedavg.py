"""Federated averaging.

References
----------
McMahan et al., *Communication-Efficient Learning of Deep Networks from Decentralized Data*,
AISTATS 2017, algorithm 1 (arXiv 1602.05629).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from aggregation.strategies.base import Sum, WeightedSum
from propius import strategies as settings


class FedAvg(WeightedSum, settings.FedAvg, frozen=True, kw_only=True):
    """The mean of the devices' tensors, weighted by their examples.

    Examples
    --------
    >>> total = torch.tensor([1.0, 2.0]) * 3 + torch.tensor([5.0, 2.0]) * 1
    >>> FedAvg().step("w", torch.zeros(2), Sum(total, weight=4.0, count=2), {})
    (tensor([2., 2.]), {})
    """

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Divide the sum by the weight."""
        return summed.total.div_(summed.weight).to(base.dtype), {}
