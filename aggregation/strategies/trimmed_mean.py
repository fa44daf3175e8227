"""The coordinate-wise trimmed mean.

References
----------
Yin et al., *Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates*, ICML 2018,
definition 2 (arXiv 1803.01498).
"""

from __future__ import annotations

import torch

from aggregation.strategies.base import AllUpdates, in_order
from propius import strategies as settings


class TrimmedMean(AllUpdates, settings.TrimmedMean, frozen=True, kw_only=True):
    """The mean of each element without its largest and smallest β share of updates.

    Examples
    --------
    >>> TrimmedMean(share=0.25).combine(torch.tensor([[1.0], [2.0], [900.0], [4.0]]))
    tensor([3.])
    """

    def combine(self, updates: torch.Tensor) -> torch.Tensor:
        """Sort each element over the updates and average the middle."""
        count = len(updates)
        # A hair more, for 0.1 · 30 is 3 and not 2.9999….
        cut = min(int(self.share * count + 1e-9), (count - 1) // 2)
        return in_order(updates)[cut : count - cut].mean(dim=0)
