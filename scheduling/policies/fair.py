"""Fair shares between tenants, and any other policy among a tenant's own jobs."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from scheduling.policies import shares
from scheduling.policies.base import BadParameters, OpenRound, Plan, Policy, Snapshot


class Fair:
    """Weighted shares with a guarantee, a ceiling and borrowing of what others leave idle.

    In Kueue's words: a tenant's ``guarantee`` is its nominal quota, ``ceiling`` is nominal quota
    and borrowing limit, ``lending_limit`` how much of the nominal quota others may have while the
    tenant does not ask for it (all, if none is set), and ``weight`` is its fair-sharing weight. A
    device goes to

    1. a tenant that holds fewer devices than it is guaranteed, the one with the smallest part
       of its guarantee first;
    2. then the one with the fewest device-seconds for its weight, halved for every half-life
       that has passed, and those that it holds now counted as if each stays ``horizon_s``.

    A tenant at its ceiling gets nothing, nor does one for which only devices are left that others
    keep for themselves. There is one resource, the device, and it is counted in
    device-seconds, so the dominant share is the share; what a job *declares* (rounds left,
    demand, workload) only orders the tenant's own jobs, and how many jobs a tenant has counts
    nothing. So splitting a job or misdeclaring its rounds gains nothing from others.

    Every tenant with rounds open is reached by every device that it may have: nobody starves
    who has a weight, and the policy is work-conserving up to ceilings and lending limits. Under
    ``random`` the order of a tenant's rounds is drawn anew at each plan, not at each check-in.

    Parameters
    ----------
    within
        Name of the policy among a tenant's own rounds.
    tiers
        Speed classes that it is to tell apart, if it can.
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
        self.horizon_s = given.pop("horizon_s", shares.HORIZON_S)
        of_within = {"tiers": given.pop("tiers")} if "tiers" in given else {}
        errors = dict.fromkeys(given, "unknown; within, horizon_s, tiers are allowed")
        number = isinstance(self.horizon_s, int | float) and not isinstance(self.horizon_s, bool)
        if not number or not 0 <= self.horizon_s <= 86_400:
            errors["horizon_s"] = f"{self.horizon_s!r}; a number from 0 to 86400 is allowed"
        if not isinstance(within, str) or within == self.name:
            errors["within"] = f"{within!r}; the name of another policy is allowed"
        if errors:
            raise BadParameters(errors)
        try:
            self.within: Policy = policies.make(within, of_within)
        except BadParameters as error:
            named = {
                "within" if name == "name" else name: why for name, why in error.errors.items()
            }
            raise BadParameters(named) from error
        self.tiers = getattr(self.within, "tiers", 1)
        self._in_one_order = self.within.plan(Snapshot(0.0, (), ())).order is not None

    def plan(self, snapshot: Snapshot) -> Plan:
        """Return the queues of each tenant's own plan, tenants in order of what they are due."""
        rounds: dict[str, list[OpenRound]] = {}
        for one in snapshot.rounds:
            rounds.setdefault(one.tenant, []).append(one)
        queues: dict[str, tuple[str, ...]] = {}
        signatures: dict[str, tuple[str, ...]] = {one.signature: () for one in snapshot.supply}
        room = shares.room(snapshot, horizon_s=self.horizon_s)
        due = sorted(rounds, key=lambda name: self._due(snapshot, name))
        due = [tenant for tenant in due if room.get(tenant, 1)]
        if self._in_one_order:
            return self._reordered(snapshot, due)
        plans = {
            tenant: self.within.plan(
                Snapshot(snapshot.now, tuple(rounds[tenant]), snapshot.supply, tiers=snapshot.tiers)
            )
            for tenant in due
        }
        shuffled = len(plans) == 1 and any(plan.shuffled for plan in plans.values())
        for tenant, plan in plans.items():
            for name, queue in plan.queues.items():
                drawn = plan.shuffled and not shuffled
                queues[f"{tenant}/{name}"] = _drawn(queue, snapshot.now) if drawn else queue
            for signature, names in plan.signatures.items():
                signatures[signature] += tuple([f"{tenant}/{name}" for name in names])
        return Plan(queues=queues, signatures=signatures, shuffled=shuffled)

    def _reordered(self, snapshot: Snapshot, due: Sequence[str]) -> Plan:
        """Plan for all tenants at once, then put the rounds of each behind those of the one before.

        A policy of one order gives a round its place by what it is, whoever else is there.
        """
        rank = {tenant: place for place, tenant in enumerate(due)}
        rounds = tuple([one for one in snapshot.rounds if one.tenant in rank])
        plan = self.within.plan(
            Snapshot(snapshot.now, rounds, snapshot.supply, tiers=snapshot.tiers)
        )
        order = plan.order or {}
        if plan.shuffled and len(due) > 1:
            drawn = _drawn([one.id for one in rounds], snapshot.now)
            order = {one: place for place, one in enumerate(drawn)}
        ordered = sorted(rounds, key=lambda one: (rank[one.tenant], order[one.id]))
        order = {one.id: place for place, one in enumerate(ordered)}
        return Plan(
            queues={
                name: tuple(sorted(queue, key=order.__getitem__))
                for name, queue in plan.queues.items()
            },
            signatures=plan.signatures,
            shuffled=plan.shuffled and len(due) < 2,
            order=order,
        )

    def _due(self, snapshot: Snapshot, tenant: str) -> tuple[float, float, str]:
        share = snapshot.shares.get(tenant, shares.NOBODY)
        return *shares.due(share, self.horizon_s), tenant


def _drawn(queue: Sequence[str], now: float) -> tuple[str, ...]:
    """Return a queue in an order drawn for this plan."""
    return tuple(sorted(queue, key=lambda one: (zlib.crc32(f"{now} {one}".encode()), one)))
