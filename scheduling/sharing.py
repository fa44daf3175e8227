"""A tenant's share as it is asked for, and what is wrong with it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """Weight, and in devices at once guarantee, ceiling and lending limit; None is no bound."""

    weight: float = 1.0
    guarantee: int = 0
    ceiling: int | None = None
    lending_limit: int | None = None

    def errors(self) -> dict[str, str]:
        """Return, for each term that makes no sense, its value and what is allowed."""
        found = {}
        if not 0 < self.weight < math.inf:
            found["weight"] = f"{self.weight!r}; a number above 0 is allowed"
        if self.guarantee < 0:
            found["guarantee"] = f"{self.guarantee}; 0 or more is allowed"
        if self.ceiling is not None and self.ceiling < max(0, self.guarantee):
            found["ceiling"] = (
                f"{self.ceiling}; at least the guarantee ({self.guarantee}) is allowed"
            )
        if self.lending_limit is not None and not 0 <= self.lending_limit <= max(0, self.guarantee):
            found["lending_limit"] = (
                f"{self.lending_limit}; from 0 to the guarantee ({self.guarantee}), or nothing, "
                "is allowed"
            )
        return found
