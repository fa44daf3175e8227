"""What a strategy is: the rule that makes updates the next model version.

There are two kinds. A *weighted sum* needs only Σ weightᵢ · updateᵢ, which is folded while updates
come in. A strategy over *all updates* sees each one, slice by slice over mapped files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch


class StrategyError(ValueError):
    """No such strategy, a configuration that it does not take, or updates that it cannot use."""


@dataclass(frozen=True, slots=True)
class Sum:
    """One tensor summed over the updates of a round.

    Parameters
    ----------
    total
        Σ weightᵢ · tensorᵢ, float32 (float64 for a float64 model), in the model's shape. The
        strategy may change it in place.
    weight
        Σ weightᵢ > 0, of the strategy's own :meth:`WeightedSum.fold_weight`.
    count
        Number of updates, at least 1.
    examples
        Σ examplesᵢ; 0 where it does not differ from ``weight``.
    steps
        Σ examplesᵢ · stepsᵢ / Σ examplesᵢ, the devices' mean local steps.
    groups
        As ``total``, of each further group of tensors in the updates, by the strategy's ``groups``.
    """

    total: torch.Tensor
    weight: float
    count: int
    examples: float = 0.0
    steps: float = 1.0
    groups: Mapping[str, torch.Tensor] = field(default_factory=dict)


class WeightedSum:
    """A strategy that works tensor by tensor on weighted sums. Pure: state comes and goes.

    A strategy is a frozen ``msgspec.Struct`` whose fields are its configuration.
    """

    __slots__ = ()
    keeps: ClassVar[tuple[str, ...]] = ()
    """Names of the state that ``step`` returns: each a tensor of the base's shape."""
    by_steps: ClassVar[bool] = False
    """Whether ``fold_weight`` and ``step`` need each device's local steps."""
    groups: ClassVar[tuple[str, ...]] = ()
    """Further groups in an update: ``<group>.<name>`` for each averaged tensor, summed alike."""
    by_staleness: ClassVar[bool] = False
    """Whether updates begin from several versions: then their changes are summed."""

    def fold_weight(self, weight: float, steps: float) -> float:
        """Return the factor of an update in the sum, from its examples and local steps."""
        return weight

    def discount(self, staleness: int) -> float:
        """Return the factor of a change that began so many versions ago."""
        return 1.0

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
            What this returned for this tensor last time, by the names in ``keeps``; empty in the
            first round. Never changed.

        Returns
        -------
        tuple
            The new tensor, with the shape and dtype of ``base``, and the state to keep, with its
            shape and the dtype of ``summed.total``.
        """
        raise NotImplementedError


class AllUpdates:
    """A strategy that sees every update, all alike: weights are the devices' own word."""

    __slots__ = ()

    def choose(self, differences: Iterable[torch.Tensor]) -> torch.Tensor | None:
        """Look at whole updates first; ``None`` if each element can be judged by itself.

        Parameters
        ----------
        differences
            Slices of update − base, float32 or float64, shape (updates, elements). Together they
            cover every averaged element once.

        Returns
        -------
        torch.Tensor or None
            Indices of the updates that are used.

        Raises
        ------
        StrategyError
            If there are too few updates.
        """
        return None

    def combine(self, updates: torch.Tensor) -> torch.Tensor:
        """Return the next version's elements, from shape (chosen updates, elements)."""
        raise NotImplementedError


Strategy = WeightedSum | AllUpdates


def mean_change(base: torch.Tensor, summed: Sum) -> torch.Tensor:
    """Return Δ = Σ weightᵢ · tensorᵢ / Σ weightᵢ − base; uses up ``summed.total``."""
    return summed.total.div_(summed.weight).sub_(base)


def in_order(updates: torch.Tensor) -> torch.Tensor:
    """Return each element sorted over the updates, shape (updates, elements).

    By numpy, whose vectorised sort takes an eighth of the time of torch's.
    """
    return torch.from_numpy(np.sort(updates.numpy(), axis=0))
