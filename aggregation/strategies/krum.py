"""Krum.

References
----------
Blanchard et al., *Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent*,
NeurIPS 2017, section 4 (arXiv 1703.02757): s(i) = Σ over the n − f − 2 nearest j of
‖Vᵢ − Vⱼ‖²; the update of least score is the next version. Proven for 2f + 2 < n.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from aggregation.strategies.base import AllUpdates, StrategyError
from propius import strategies as settings


class Krum(AllUpdates, settings.Krum, frozen=True, kw_only=True):
    """The one update that is nearest to its neighbours, ``attackers`` (f) left aside."""

    def choose(self, differences: Iterable[torch.Tensor]) -> torch.Tensor | None:
        """Return the update of least score."""
        return ranked(differences, self.attackers)[:1]

    def combine(self, updates: torch.Tensor) -> torch.Tensor:
        """Return it."""
        return updates[0]


def ranked(differences: Iterable[torch.Tensor], attackers: int) -> torch.Tensor:
    """Return the indices of all updates, of least score first; O(n²) per element.

    Raises
    ------
    StrategyError
        With fewer than 2f + 3 updates.
    """
    products: torch.Tensor | None = None
    for part in differences:
        _check_count(len(part), attackers)
        # Of differences, in float64: else what two large and near updates share eats their gap.
        wide = part.double()
        products = wide @ wide.T if products is None else products.addmm_(wide, wide.T)
    if products is None:
        raise StrategyError("there is no tensor to judge updates by")
    norms = products.diagonal()
    distances = (norms[:, None] + norms[None, :] - 2 * products).clamp_(min=0)
    distances.fill_diagonal_(torch.inf)
    nearest = distances.sort(dim=1).values[:, : len(distances) - attackers - 2]
    # Stable: of two equal scores, the update that came first.
    return nearest.sum(dim=1).argsort(stable=True)


def _check_count(count: int, attackers: int) -> None:
    if count < 2 * attackers + 3:
        raise StrategyError(
            f"{count} updates; against {attackers} attackers Krum needs {2 * attackers + 3}"
        )
