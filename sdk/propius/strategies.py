"""The settings of each strategy, without torch: what a job file may say under ``strategy``.

What they do stands in ``aggregation/strategies``, one file each, whose classes extend these.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Rate = Annotated[float, Meta(gt=0, le=100)]
Decay = Annotated[float, Meta(ge=0, lt=1)]
CONTROL = "control"
"""The second group of tensors in an update of :class:`Scaffold`: ``control.<name>``."""


class _Strategy(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="name"
):
    pass


class FedAvg(_Strategy, frozen=True, kw_only=True, tag="fedavg"):
    """The mean of the updates, weighted by their examples (McMahan et al., arXiv 1602.05629)."""


class FedAvgM(_Strategy, frozen=True, kw_only=True, tag="fedavgm"):
    """FedAvg with momentum on the server (Hsu et al., arXiv 1909.06335)."""

    learning_rate: Rate = 1.0
    momentum: Decay = 0.9


class FedProx(_Strategy, frozen=True, kw_only=True, tag="fedprox"):
    """FedAvg whose devices are held near the start by μ (Li et al., arXiv 1812.06127)."""

    mu: Annotated[float, Meta(gt=0, le=1e6)] = 0.01


class FedAdagrad(_Strategy, frozen=True, kw_only=True, tag="fedadagrad"):
    """Adagrad on the server (Reddi et al., arXiv 2003.00295)."""

    learning_rate: Rate = 0.1
    tau: Annotated[float, Meta(gt=0, le=1)] = 1e-3


class FedAdam(_Strategy, frozen=True, kw_only=True, tag="fedadam"):
    """Adam on the server (Reddi et al., arXiv 2003.00295)."""

    learning_rate: Rate = 0.1
    beta1: Decay = 0.9
    beta2: Decay = 0.99
    tau: Annotated[float, Meta(gt=0, le=1)] = 1e-3


class FedYogi(_Strategy, frozen=True, kw_only=True, tag="fedyogi"):
    """Yogi on the server (Reddi et al., arXiv 2003.00295)."""

    learning_rate: Rate = 0.1
    beta1: Decay = 0.9
    beta2: Decay = 0.99
    tau: Annotated[float, Meta(gt=0, le=1)] = 1e-3


class FedNova(_Strategy, frozen=True, kw_only=True, tag="fednova"):
    """Updates normalised by their local steps (Wang et al., arXiv 2007.07481)."""


class FedBuff(_Strategy, frozen=True, kw_only=True, tag="fedbuff"):
    """Asynchronous: a step for each full buffer of updates (Nguyen et al., arXiv 2106.06639).

    ``rounds.demand`` devices are at work at once and ``rounds.count`` steps are made, each over
    ``buffer_size`` updates. One that began from a version τ steps back counts
    (1 + τ)^−``staleness_exponent``, and not at all beyond ``max_staleness``.
    """

    buffer_size: Annotated[int, Meta(ge=1, le=100_000)] = 10
    learning_rate: Rate = 1.0
    staleness_exponent: Annotated[float, Meta(ge=0, le=10)] = 0.5
    max_staleness: Annotated[int, Meta(ge=1, le=10_000)] = 20


class Scaffold(_Strategy, frozen=True, kw_only=True, tag="scaffold"):
    """FedAvg corrected for how devices' data differ (Karimireddy et al., arXiv 1910.06378).

    For small, stable fleets: each device keeps a control variate between rounds. ``population``
    is how many devices the fleet has, the N of the paper.
    """

    population: Annotated[int, Meta(ge=1, le=100_000)]
    learning_rate: Rate = 1.0


class Median(_Strategy, frozen=True, kw_only=True, tag="median"):
    """The median of each coordinate (Yin et al., arXiv 1803.01498)."""


class TrimmedMean(_Strategy, frozen=True, kw_only=True, tag="trimmed_mean"):
    """The mean of each coordinate without its extremes (Yin et al., arXiv 1803.01498).

    ``share`` of the updates is cut off at each end.
    """

    share: Annotated[float, Meta(ge=0, lt=0.5)] = 0.1


class Krum(_Strategy, frozen=True, kw_only=True, tag="krum"):
    """The one update that is nearest to its neighbours (Blanchard et al., arXiv 1703.02757)."""

    attackers: Annotated[int, Meta(ge=0, le=10_000)] = 1


class MultiKrum(_Strategy, frozen=True, kw_only=True, tag="multi_krum"):
    """The mean of the updates of best Krum score: ``keep`` of them, all but ``attackers`` if 0."""

    attackers: Annotated[int, Meta(ge=0, le=10_000)] = 1
    keep: Annotated[int, Meta(ge=0, le=100_000)] = 0


AnyStrategy = (
    FedAvg
    | FedAvgM
    | FedProx
    | FedAdagrad
    | FedAdam
    | FedYogi
    | FedNova
    | FedBuff
    | Scaffold
    | Median
    | TrimmedMean
    | Krum
    | MultiKrum
)

EQUAL_WEIGHTS = (FedAvg, FedAvgM, FedProx, FedAdagrad, FedAdam, FedYogi)
"""Strategies on the sum of updates that may weigh all devices the same, as privacy wants."""

BY_STEPS = (FedNova,)
"""Strategies that normalise each update by the local steps that its device took."""
STEPS = "local_steps"
"""The metric in which a device says how many."""


def name_of(strategy: type[_Strategy]) -> str:
    """Return what a job file calls a strategy."""
    return str(strategy.__struct_config__.tag)
