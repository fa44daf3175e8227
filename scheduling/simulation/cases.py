"""One simulation from its choices: what the command, the sweep and the benchmarks call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scheduling.policies import Policy
from scheduling.simulation import metrics, platform
from scheduling.simulation.engine import HORIZON_S, Reference
from scheduling.simulation.traces import Fleet, SimulatedJob

RULES = ("reference", "platform")


def simulate(
    fleet: Fleet,
    jobs: Sequence[SimulatedJob],
    policy: Policy,
    *,
    rules: str = "reference",
    seed: int = 0,
    tiers: int = 1,
    horizon_s: float = HORIZON_S,
) -> dict[str, Any]:
    """Run ``jobs`` on ``fleet`` under ``policy`` and return the report as JSON values."""
    if rules == "platform":
        outcome = platform.Platform(fleet, jobs, policy, seed=seed, horizon_s=horizon_s).run()
    else:
        engine = Reference(fleet, jobs, policy, seed=seed, tiers=tiers, horizon_s=horizon_s)
        outcome = engine.run()
    return {"rules": rules, "policy": policy.name, "seed": seed, **metrics.report(outcome)}
