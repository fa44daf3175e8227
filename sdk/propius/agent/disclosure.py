"""How much of its example count a device tells: as an update's weight it would be exact.

In ``consent.toml``::

    [examples]
    tell = "bucket"     # "exact" (default), "bucket" (the power of two below), "withhold" (1)
    cap = 500           # never more than this
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

DERIVED = "local_steps"
"""The metric from which the count could be reckoned, where steps follow from epochs."""


class Disclosure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``examples`` of the consent file."""

    tell: Literal["exact", "bucket", "withhold"] = "exact"
    cap: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None

    def weight(self, examples: float) -> float:
        """Return the weight to tell for so many examples.

        Examples
        --------
        >>> Disclosure(tell="bucket").weight(137.0)
        128.0
        >>> Disclosure(tell="bucket", cap=100).weight(137.0)
        64.0
        """
        if self.tell == "withhold":
            return 1.0
        told = examples if self.cap is None else min(examples, float(self.cap))
        return _bucket(told) if self.tell == "bucket" and told >= 1 else told

    def metrics(
        self, metrics: Mapping[str, float], workload: Mapping[str, Any]
    ) -> dict[str, float]:
        """Return the metrics to tell: without what would give the count away after all."""
        fixed = (workload.get("train") or {}).get("local_steps") is not None
        if fixed or (self.tell == "exact" and self.cap is None):
            return dict(metrics)
        told = {name: value for name, value in metrics.items() if name != DERIVED}
        if self.tell == "bucket" and self.cap is None and metrics.get(DERIVED, 0) >= 1:
            # The strategy normalises by it: half of the truth is better than none. Beside a cap
            # it would say how far the count is above that.
            told[DERIVED] = _bucket(metrics[DERIVED])
        return told

    def words(self) -> str:
        """Say what is told in words."""
        told = {
            "exact": "example counts are sent",
            "bucket": "example counts are sent rounded down to a power of two",
            "withhold": "example counts are withheld: every update weighs 1",
        }[self.tell]
        return (
            told if self.cap is None or self.tell == "withhold" else f"{told}, at most {self.cap}"
        )


def _bucket(value: float) -> float:
    return 2.0 ** math.floor(math.log2(value))
