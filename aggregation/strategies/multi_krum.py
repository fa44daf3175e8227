"""Multi-Krum.

References
----------
Blanchard et al., *Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent*,
NeurIPS 2017, section 4 and the experiments' Multi-Krum: the mean of the m updates of least Krum
score (arXiv 1703.02757).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from aggregation.strategies.base import AllUpdates
from aggregation.strategies.krum import ranked
from propius import strategies as settings


class MultiKrum(AllUpdates, settings.MultiKrum, frozen=True, kw_only=True):
    """The mean of the ``keep`` updates that are nearest to their neighbours."""

    def choose(self, differences: Iterable[torch.Tensor]) -> torch.Tensor | None:
        """Return the updates of least scores, in the order in which they came."""
        order = ranked(differences, self.attackers)
        return order[: self.keep or len(order) - self.attackers].sort().values

    def combine(self, updates: torch.Tensor) -> torch.Tensor:
        """Average them."""
        return updates.mean(dim=0)
