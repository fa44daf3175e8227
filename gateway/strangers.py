"""Sockets whose devices have not proved their keys yet, counted by the address they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from core import origin


class Stranger:
    """One such socket; it is one no longer once its device is known, or it has closed."""

    __slots__ = ("_among", "_network")

    def __init__(self, among: Counter[str] | None = None, network: str = "") -> None:
        self._among = among
        self._network = network
        if among is not None:
            among[network] += 1

    def known(self) -> None:
        """Count it no more; a second time does nothing."""
        among, self._among = self._among, None
        if among is not None:
            among[self._network] -= 1
            if not among[self._network]:
                del among[self._network]


class Strangers:
    """Those of one process."""

    def __init__(self) -> None:
        self._by_network: Counter[str] = Counter()

    def enter(self, scope: Mapping[str, Any], *, most: int) -> Stranger | None:
        """Count a new socket; None if its address has ``most`` of them already.

        The address is the server's: of a proxy's word only if the server trusts the proxy. IPv6
        hosts are counted by their /64, and sockets without an address together.
        """
        client = scope.get("client")
        network = origin.network(origin.parsed(client[0] if client else None))
        if self._by_network[network] >= most:
            return None
        return Stranger(self._by_network, network)

    def __len__(self) -> int:
        return sum(self._by_network.values())
