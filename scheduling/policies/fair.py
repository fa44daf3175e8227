"""Fair shares between tenants, and any other policy among a tenant's own jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scheduling.policies.base import BadParameters, OpenRound, Plan, Policy, Share, Snapshot

NOBODY = Share()


class Fair:
    """Weighted shares with a guarantee, a ceiling and borrowing of what others leave idle.

    In Kueue's words: a tenant's ``guarantee`` is its nominal quota, ``ceiling`` is nominal quota
    and borrowing limit, lending is unlimited (what a tenant does not ask for goes to others), and
    ``weight`` is its fair-sharing weight. A device goes to

    1. a tenant that holds fewer devices than it is guaranteed, the one with the smallest part
       of its guarantee first;
    2. then the one with the fewest device-seconds for its weight, halved for every half-life
       that has passed, and those that it holds now counted as if each stays ``horizon_s``.

    A tenant at its ceiling gets nothing. There is one resource, the device, and it is counted in
    device-seconds, so the dominant share is the share; what a job *declares* (rounds left,
    demand, workload) only orders the tenant's own jobs, and how many jobs a tenant has counts
    nothing. So splitting a job or misdeclaring its rounds gains nothing from others.

    Every tenant with rounds open is reached by every device that it may have: nobody starves
    who has a weight, and the policy is work-conserving up to the ceilings.

    Parameters
    ----------
    within
        Name of the policy among a tenant's own rounds.
    horizon_s
        What a bound device is taken to be worth before it has reported, in seconds.

    References
    ----------
    Ghodsi et al., "Dominant Resource Fairness" (NSDI 2011); Kueue, "Cluster queue: fair sharing".
    """

    name = "fair"

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        from scheduling import policies  # late: the registry names this class

        given = dict(parameters or {})
        within = given.pop("within", "propius")
        self.horizon_s = given.pop("horizon_s", 60.0)
        errors = dict.fromkeys(given, "unknown; within, horizon_s are allowed")
        number = isinstance(self.horizon_s, int | float) and not isinstance(self.horizon_s, bool)
        if not number or not 0 <= self.horizon_s <= 86_400:
            errors["horizon_s"] = f"{self.horizon_s!r}; a number from 0 to 86400 is allowed"
        if not isinstance(within, str) or within == self.name:
            errors["within"] = f"{within!r}; the name of another policy is allowed"
        if errors:
            raise BadParameters(errors)
        try:
            self.within: Policy = policies.make(within, {})
        except BadParameters as error:
            raise BadParameters({"within": error.errors.get("name", str(error))}) from error

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return the queues of each tenant's own plan, tenants in order of what they are due."""
        rounds: dict[str, list[OpenRound]] = {}
        for one in snapshot.rounds:
            rounds.setdefault(one.tenant, []).append(one)
        queues: dict[str, tuple[str, ...]] = {}
        signatures: dict[str, tuple[str, ...]] = {one.signature: () for one in snapshot.supply}
        plans = {
            tenant: self.within.plan(
                Snapshot(snapshot.now, tuple(rounds[tenant]), snapshot.supply, tiers=snapshot.tiers)
            )
            for tenant in sorted(rounds, key=lambda name: self._due(snapshot, name))
            if not _at_ceiling(snapshot.shares.get(tenant, NOBODY))
        }
        for tenant, plan in plans.items():
            for name, queue in plan.queues.items():
                queues[f"{tenant}/{name}"] = queue
            for signature, names in plan.signatures.items():
                signatures[signature] += tuple([f"{tenant}/{name}" for name in names])
        shuffled = len(plans) == 1 and any(plan.shuffled for plan in plans.values())
        return Plan(queues=queues, signatures=signatures, shuffled=shuffled)

    def _due(self, snapshot: Snapshot, tenant: str) -> tuple[float, float, str]:
        share = snapshot.shares.get(tenant, NOBODY)
        guaranteed = share.held / share.guarantee if share.held < share.guarantee else 1.0
        used = share.used_s + share.held * self.horizon_s
        return guaranteed, used / share.weight if share.weight > 0 else math.inf, tenant


def _at_ceiling(share: Share) -> bool:
    return share.ceiling is not None and share.held >= share.ceiling
