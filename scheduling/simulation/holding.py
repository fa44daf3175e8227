"""What tenants hold in a simulation, and what their shares let them take: as the bind script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from scheduling.policies import Share, SignatureSupply, Snapshot
from scheduling.policies.shares import room

HALF_LIFE_S = 86_400.0
"""What a tenant has had counts half as much a day later."""


class Holdings:
    """Devices held and device-seconds used by tenant, and the room that the last plan left.

    Without shares nothing is bounded, and all tenants weigh the same.
    """

    def __init__(self, tenants: Iterable[str], shares: Mapping[str, Share]) -> None:
        names = sorted({*tenants, *shares})
        self.bounds = {name: shares.get(name, Share()) for name in names}
        self.held = dict.fromkeys(names, 0)
        self.used = dict.fromkeys(names, (0.0, 0.0))
        self.room: dict[str, int] = {}

    def shares(self, now: float) -> dict[str, Share]:
        """Return the shares with what their tenants hold and have had."""
        return {
            name: replace(share, held=self.held[name], used_s=self._used(name, now))
            for name, share in self.bounds.items()
        }

    def planned(self, snapshot: Snapshot) -> None:
        """Take the room of a new plan."""
        self.room = room(snapshot)

    def may(self, tenant: str) -> bool:
        """Tell whether a tenant may take one more device before the next plan."""
        return self.room.get(tenant, 1) > 0

    def take(self, tenant: str) -> None:
        """Bind a device for a tenant."""
        self.held[tenant] += 1
        if tenant in self.room:
            self.room[tenant] -= 1

    def give_back(self, tenant: str, took_s: float, now: float) -> None:
        """Count a device that was held for ``took_s``."""
        self.held[tenant] -= 1
        self.used[tenant] = self._used(tenant, now) + took_s, now

    def _used(self, tenant: str, now: float) -> float:
        used_s, since = self.used[tenant]
        return float(used_s * 0.5 ** ((now - since) / HALF_LIFE_S))


def connected(
    supply: Iterable[SignatureSupply], idle: Mapping[str, int], busy: Mapping[str, int]
) -> tuple[SignatureSupply, ...]:
    """Return the supply with the devices that are connected now, by signature."""
    return tuple(
        replace(one, idle=idle.get(one.signature, 0), busy=busy.get(one.signature, 0))
        for one in supply
    )
