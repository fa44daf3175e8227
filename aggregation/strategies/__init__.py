"""Strategies by name. To add one: copy ``fedavg.py``, change ``step``, and name it here.

``tests/contract/test_strategies.py`` then checks it like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aggregation.strategies.base import Strategy, Sum
from aggregation.strategies.fedavg import FedAvg

__all__ = ["STRATEGIES", "Strategy", "StrategyError", "Sum", "build"]

STRATEGIES: Mapping[str, type[Strategy]] = {"fedavg": FedAvg}


class StrategyError(ValueError):
    """No such strategy, or a configuration that it does not take."""


def build(name: str, config: Mapping[str, Any]) -> Strategy:
    """Return a strategy with its configuration. Raises StrategyError."""
    if name not in STRATEGIES:
        raise StrategyError(f"no strategy {name!r}; allowed: {', '.join(sorted(STRATEGIES))}")
    try:
        return msgspec.convert(dict(config), STRATEGIES[name])
    except msgspec.ValidationError as error:
        raise StrategyError(f"strategy {name}: {error}") from error
