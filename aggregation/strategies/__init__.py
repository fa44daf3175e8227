"""Strategies by name. To add one: copy ``fedavg.py``, change ``step``, and name it here.

Its settings stand in ``propius.strategies``, which the job file's check reads without torch.
``tests/contract/test_strategies.py`` then checks it like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aggregation.strategies.base import AllUpdates, Strategy, StrategyError, Sum, WeightedSum
from aggregation.strategies.fedadagrad import FedAdagrad
from aggregation.strategies.fedadam import FedAdam
from aggregation.strategies.fedavg import FedAvg
from aggregation.strategies.fedavgm import FedAvgM
from aggregation.strategies.fedbuff import FedBuff
from aggregation.strategies.fednova import FedNova
from aggregation.strategies.fedprox import FedProx
from aggregation.strategies.fedyogi import FedYogi
from aggregation.strategies.krum import Krum
from aggregation.strategies.median import Median
from aggregation.strategies.multi_krum import MultiKrum
from aggregation.strategies.scaffold import Scaffold
from aggregation.strategies.trimmed_mean import TrimmedMean

__all__ = [
    "STRATEGIES",
    "AllUpdates",
    "Strategy",
    "StrategyError",
    "Sum",
    "WeightedSum",
    "build",
]

STRATEGIES: Mapping[str, type[Strategy]] = {
    "fedadagrad": FedAdagrad,
    "fedadam": FedAdam,
    "fedavg": FedAvg,
    "fedavgm": FedAvgM,
    "fedbuff": FedBuff,
    "fednova": FedNova,
    "fedprox": FedProx,
    "fedyogi": FedYogi,
    "krum": Krum,
    "median": Median,
    "multi_krum": MultiKrum,
    "scaffold": Scaffold,
    "trimmed_mean": TrimmedMean,
}


def build(name: str, config: Mapping[str, Any]) -> Strategy:
    """Return a strategy with its configuration. Raises StrategyError."""
    if name not in STRATEGIES:
        raise StrategyError(f"no strategy {name!r}; allowed: {', '.join(sorted(STRATEGIES))}")
    try:
        return msgspec.convert({"name": name, **config}, STRATEGIES[name])
    except msgspec.ValidationError as error:
        raise StrategyError(f"strategy {name}: {error}") from error
