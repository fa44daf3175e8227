"""The coordinate-wise median.

References
----------
Yin et al., *Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates*, ICML 2018,
definition 1 (arXiv 1803.01498).
"""

from __future__ import annotations

import torch

from aggregation.strategies.base import AllUpdates, in_order
from propius import strategies as settings


class Median(AllUpdates, settings.Median, frozen=True, kw_only=True):
    """The middle of each element over the updates; the mean of the two middle ones if even.

    Examples
    --------
    >>> Median().combine(torch.tensor([[1.0], [2.0], [900.0], [4.0]]))
    tensor([3.])
    """

    def combine(self, updates: torch.Tensor) -> torch.Tensor:
        """Sort each element over the updates and take the middle."""
        count = len(updates)
        ranked = in_order(updates)
        return ranked[(count - 1) // 2].lerp(ranked[count // 2], 0.5)
