"""SGD and Adam over lists of tensors, with torch's formulas.

``torch.optim`` would do, but importing it costs a device a second and 50 MB that it never uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi

import torch
from torch import Tensor

from propius.training.config import TrainConfig

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class Sgd:
    """v ← m·v + g; w ← w − η·v (without momentum v = g)."""

    def __init__(self, config: TrainConfig) -> None:
        self.rate = config.learning_rate
        self._momentum = config.momentum
        self._velocity: list[Tensor] = []

    def __call__(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        step = list(gradients)
        if self._momentum:
            if self._velocity:
                torch._foreach_mul_(self._velocity, self._momentum)
                torch._foreach_add_(self._velocity, step)
            else:
                self._velocity = [gradient.clone() for gradient in step]
            step = self._velocity
        torch._foreach_add_(list(weights), step, alpha=-self.rate)


class Adam:
    """Kingma and Ba, 2015, algorithm 1."""

    def __init__(self, config: TrainConfig) -> None:
        self.rate = config.learning_rate
        self._steps = 0
        self._mean: list[Tensor] = []
        self._square: list[Tensor] = []

    def __call__(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        if not self._steps:
            self._mean = [torch.zeros_like(weight) for weight in weights]
            self._square = [torch.zeros_like(weight) for weight in weights]
        self._steps += 1
        step = list(gradients)
        torch._foreach_lerp_(self._mean, step, 1 - _BETA1)
        torch._foreach_mul_(self._square, _BETA2)
        torch._foreach_addcmul_(self._square, step, step, 1 - _BETA2)
        denominator = list(torch._foreach_sqrt(self._square))
        torch._foreach_div_(denominator, (1 - _BETA2**self._steps) ** 0.5)
        torch._foreach_add_(denominator, _EPSILON)
        rate = self.rate / (1 - _BETA1**self._steps)
        torch._foreach_addcdiv_(list(weights), self._mean, denominator, -rate)


Optimizer = Sgd | Adam
"""Called with (w, g), it changes w in place; ``rate`` may change between steps."""


def scheduled(config: TrainConfig, step: int, steps: int) -> float:
    """Return the learning rate of step ``step`` of ``steps``, from 0 on.

    Examples
    --------
    >>> config = TrainConfig(learning_rate=0.4, schedule="linear")
    >>> [round(scheduled(config, step, 4), 2) for step in range(4)]
    [0.4, 0.3, 0.2, 0.1]
    """
    done = step / max(1, steps)
    left = 1 - done if config.schedule == "linear" else (1 + cos(pi * done)) / 2
    return config.learning_rate * (1.0 if config.schedule == "constant" else left)


def make(config: TrainConfig) -> Optimizer:
    """The optimiser that a configuration names."""
    return Adam(config) if config.optimizer == "adam" else Sgd(config)


def corrected(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    start: Sequence[Tensor],
    shifts: Sequence[Tensor],
    config: TrainConfig,
) -> list[Tensor]:
    """Gradients with SCAFFOLD's and FedProx's terms, then clipped, then with weight decay.

    References
    ----------
    Li et al., *Federated Optimization in Heterogeneous Networks*, 2020, equation 2.
    Karimireddy et al., *SCAFFOLD*, 2020, equation 3: ``shifts`` are c − cᵢ, empty for none.
    """
    result = list(gradients)
    if shifts:
        result = list(torch._foreach_add(result, list(shifts)))
    if config.proximal_mu:
        drift = torch._foreach_sub(list(weights), list(start))
        result = list(torch._foreach_add(result, drift, alpha=config.proximal_mu))
    if config.clip_norm is not None:
        norms = torch.stack(list(torch._foreach_norm(result)))
        factor = torch.clamp(config.clip_norm / (torch.linalg.vector_norm(norms) + 1e-6), max=1.0)
        result = list(torch._foreach_mul(result, factor))
    if config.weight_decay:
        result = list(torch._foreach_add(result, list(weights), alpha=config.weight_decay))
    return result
