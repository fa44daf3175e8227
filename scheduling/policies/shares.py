"""What tenants may still take: up to their ceilings, and not what others keep for themselves."""

from __future__ import annotations

import math

from scheduling.policies.base import Share, Snapshot

NOBODY = Share()
HORIZON_S = 60.0
"""What a bound device is taken to be worth before it has reported, in seconds."""


def due(share: Share, horizon_s: float = HORIZON_S) -> tuple[float, float]:
    """Return the sort key by which tenants are served: what they lack of their guarantee first.

    Then the device-seconds that they have had for their weight, those bound now included.
    """
    guaranteed = share.held / share.guarantee if share.held < share.guarantee else 1.0
    used_s = share.used_s + share.held * horizon_s
    return guaranteed, used_s / share.weight if share.weight > 0 else math.inf


def kept(share: Share) -> int:
    """Return the devices that a tenant keeps for itself beyond those that it holds.

    >>> kept(Share(guarantee=10, lending_limit=4, held=1))
    5
    """
    if share.lending_limit is None:
        return 0
    return max(0, share.guarantee - share.lending_limit - share.held)


def room(snapshot: Snapshot, *, horizon_s: float = HORIZON_S) -> dict[str, int]:
    """Return how many devices each tenant with a bound may still take before the next plan.

    A tenant without an entry has no bound. Where tenants keep devices for themselves, whoever
    asks may take what it keeps itself and its part of the rest; the rest is given out once, in
    the order of what tenants are due, so that all together never take what is kept.

    Notes
    -----
    Free devices are those connected less those bound: both hold between two heartbeats, which
    a count of idle devices does not. O(R + S + T log T).
    """
    shares = snapshot.shares
    bounds = {
        tenant: max(0, share.ceiling - share.held)
        for tenant, share in shares.items()
        if share.ceiling is not None
    }
    reserved = {tenant: kept(share) for tenant, share in shares.items()}
    if not any(reserved.values()):
        return bounds
    connected = sum(one.idle + one.busy for one in snapshot.supply)
    free = connected - sum(share.held for share in shares.values()) - sum(reserved.values())
    asked: dict[str, int] = {}
    for one in snapshot.rounds:
        asked[one.tenant] = asked.get(one.tenant, 0) + one.remaining
    for tenant in sorted(asked, key=lambda name: (*due(shares.get(name, NOBODY), horizon_s), name)):
        own = reserved.get(tenant, 0)
        wanted = min(asked[tenant], bounds.get(tenant, asked[tenant]))
        lent = max(0, min(wanted - own, free))
        free -= lent
        bounds[tenant] = min(bounds.get(tenant, own + lent), own + lent)
    return bounds
