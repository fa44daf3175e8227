"""What a strategy is: the rule that makes updates the next model version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, slots=True)
class Sum:
    """One tensor summed over the updates of a round.

    Parameters
    ----------
    total
        Σ weightᵢ · tensorᵢ, float32 (float64 for a float64 model), in the model's shape. The
        strategy may change it in place.
    weight
        Σ weightᵢ > 0, in examples.
    count
        Number of updates, at least 1.
    """

    total: torch.Tensor
    weight: float
    count: int


class Strategy(Protocol):
    """One algorithm that works tensor by tensor on weighted sums. Pure: state comes and goes.

    A strategy is a frozen ``msgspec.Struct`` whose fields are its configuration.
    """

    def step(
        self, name: str, base: torch.Tensor, summed: Sum, state: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Make one tensor of the next version.

        Parameters
        ----------
        name
            The tensor's.
        base
            It, in the version that the round started from. Never changed.
        summed
            It, over the updates.
        state
            What this returned for this tensor last time; empty in the first round.

        Returns
        -------
        tuple
            The new tensor, with the shape and dtype of ``base``, and the state to keep.
        """
