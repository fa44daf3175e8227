"""Policies: how devices are shared. To add one: a file here, a name below; the checks run on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scheduling.policies.base import (
    BadParameters,
    OpenRound,
    Plan,
    Policy,
    Share,
    SignatureSupply,
    Snapshot,
)
from scheduling.policies.fair import Fair
from scheduling.policies.fifo import Fifo
from scheduling.policies.irs import Irs
from scheduling.policies.las import Las
from scheduling.policies.propius import Propius
from scheduling.policies.random import Random
from scheduling.policies.srsf import Srsf
from scheduling.policies.srtf import Srtf
from scheduling.policies.static import Static


def make(name: str, parameters: Mapping[str, Any]) -> Policy:
    """Build a policy by name. Raises BadParameters for an unknown name or wrong parameters."""
    if name not in REGISTRY:
        raise BadParameters({"name": f"{name!r}; {', '.join(REGISTRY)} are allowed"})
    return REGISTRY[name](parameters)


REGISTRY: dict[str, Callable[[Mapping[str, Any]], Policy]] = {
    "fair": Fair,
    "fifo": Fifo,
    "irs": Irs,
    "las": Las,
    "propius": Propius,
    "random": Random,
    "srsf": Srsf,
    "srtf": Srtf,
    "static": Static,
}

__all__ = [
    "REGISTRY",
    "BadParameters",
    "OpenRound",
    "Plan",
    "Policy",
    "Share",
    "SignatureSupply",
    "Snapshot",
    "make",
]
