"""How a program trains on the device: a typed section of the job file, without torch."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Local training of one assignment.

    Parameters
    ----------
    optimizer
        ``sgd`` (with ``momentum``) or ``adam`` (β = 0.9, 0.999; ε = 1e-8).
    learning_rate, momentum, weight_decay
        As in torch; weight decay is added to the gradient (L2), momentum is for ``sgd`` only.
    epochs
        Passes over the device's data; ignored when ``local_steps`` is set.
    local_steps
        Exactly so many batches, going around the data as often as needed.
    batch_size
        Examples in a batch; also the batch of evaluation is at least this.
    decay
        The learning rate of round n is ``learning_rate`` · decayⁿ⁻¹.
    schedule
        Of the learning rate over a device's local steps: ``constant``, or down to 0 by a line
        (``linear``) or half a cosine (``cosine``).
    clip_norm
        Largest global L2 norm of the gradient; ``None`` does not clip.
    proximal_mu
        μ of FedProx: adds μ·(w − w₀) to the gradient; 0 is plain FedAvg.
    control_variates
        SCAFFOLD's: adds c − cᵢ to the gradient. The strategy ``scaffold`` sets it.
    """

    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Annotated[float, Meta(gt=0, le=100)] = 0.1
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Meta(ge=0, le=10)] = 0.0
    epochs: Annotated[int, Meta(ge=1, le=1000)] = 1
    local_steps: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    batch_size: Annotated[int, Meta(ge=1, le=65_536)] = 32
    clip_norm: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    proximal_mu: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    decay: Annotated[float, Meta(gt=0, le=1)] = 1.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    control_variates: bool = False

    def in_round(self, number: int) -> TrainConfig:
        """Return it with the learning rate of round ``number``."""
        rate = self.learning_rate * self.decay ** (number - 1)
        return msgspec.structs.replace(self, learning_rate=rate)
