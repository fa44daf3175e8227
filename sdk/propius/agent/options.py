"""What differs between an agent and the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from propius import wire
from propius.agent.cache import DEFAULT_BYTES
from propius.agent.meter import Meter
from propius.agent.workloads import Handler


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What differs between a device and the next.

    Parameters
    ----------
    slowdown
        At least 1. For demonstrations: after real training the agent waits so long that the whole
        took ``slowdown`` times as long, as a slower device would.
    attributes
        Public attributes in place of measured ones.
    programs
        Whether programs may run here, if torch is installed.
    cache_bytes
        Cap of the download cache.
    backoff_base_s, backoff_cap_s
        Shortest and longest wait between attempts to connect.
    meter
        Reads what the owner's conditions ask about; without one only the owner's pause counts, as
        for many devices of one machine.
    handlers
        What runs here, in place of ``handlers.toml`` and programs.
    """

    slowdown: float = 1.0
    attributes: Mapping[str, wire.Scalar] = field(default_factory=dict)
    programs: bool = True
    cache_bytes: int = DEFAULT_BYTES
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    meter: Meter | None = None
    handlers: Mapping[str, Handler] | None = None
