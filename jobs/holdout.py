"""Which devices a job holds out from training; pure. The bind script decides by the same rule.

Nothing is stored of a device: that it is held out follows from the job's key and the device's id,
so it stays for the life of the job. The keys are random, so one job tells nothing of another.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BITS = 32


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may be bound to a round: held-out devices only, or all but those."""

    key: str
    fraction: float
    wants_held_out: bool

    def admits(self, device_id: str) -> bool:
        """Tell whether the round may have the device; ``device_id`` is the text of its UUID."""
        return is_held_out(self.key, device_id, self.fraction) == self.wants_held_out

    @property
    def record(self) -> str:
        """As the bind script reads it: side, bound and key."""
        return f"{'+' if self.wants_held_out else '-'}:{_bound(self.fraction)}:{self.key}"


def new_key() -> str:
    """Return a random key for one job."""
    return secrets.token_hex(16)


def fraction_of(spec: Mapping[str, Any]) -> float:
    """Return the share of devices that a normalised spec holds out; 0 for none."""
    return float(spec["evaluation"].get("fraction") or 0.0)


def rule_of(spec: Mapping[str, Any], key: str, *, kind: str) -> Rule | None:
    """Return who may be bound to a round of this kind; None for anyone."""
    fraction = fraction_of(spec)
    return Rule(key, fraction, kind == "evaluate") if fraction else None


def is_held_out(key: str, device_id: str, fraction: float) -> bool:
    """Tell whether the job of this key holds out the device.

    SHA-1, since it is the one hash that scripts in Redis have; what has to hold is that outputs
    under a secret key look random.
    """
    digest = hashlib.sha1((key + device_id).encode(), usedforsecurity=False).hexdigest()
    return int(digest[: BITS // 4], 16) < _bound(fraction)


def _bound(fraction: float) -> int:
    return round(fraction * (1 << BITS))
