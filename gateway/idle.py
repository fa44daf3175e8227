"""Idle devices by signature, and which of them to wake when demand opens."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.events import DemandOpened
from gateway.registry import Listener

UNTRIED = -1
SPARE_TRIES = 64


class IdlePool:
    """Wakes as many idle devices as there are open slots, and the next when one comes to nothing.

    Each device remembers the plan version at which it last asked. A plan wakes it at most once,
    however many slots stay open: rounds that refuse it would refuse it again.
    """

    def __init__(self) -> None:
        self.version = 0
        self._epoch = ""
        self._open: Mapping[str, int] = {}
        self._slots: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self._pools: dict[str, dict[Listener, int]] = {}

    def plan(self, *, version: int, epoch: str, open_slots: Mapping[str, int]) -> None:
        """Take what the planner published, and wake whom it may serve.

        ``open_slots`` is by constraint group; a signature reaches those of all its groups.
        """
        if epoch == self._epoch and version < self.version:
            return
        if epoch != self._epoch:
            # Versions may begin anew: what was tried under the old ones says nothing.
            for pool in self._pools.values():
                for one in pool:
                    pool[one] = UNTRIED
        self.version, self._epoch, self._open = version, epoch, open_slots
        self._tries, self._slots = {}, {}
        self._wake_in_turn({one: n for one in self._pools if (n := self._reached(one))})

    def park(self, one: Listener, tried: int) -> None:
        """Let a device wait. ``tried`` is the plan version at which it asked in vain."""
        self._pools.setdefault(one.signature, {})[one] = tried
        pushed, one.pushed = one.pushed, False
        # A plan that came while the device asked may have what it wants.
        if pushed or (tried < self.version and self._reached(one.signature)):
            self._wake_next(one.signature)

    def remove(self, one: Listener) -> None:
        """Take a device out; it asks by itself or is gone."""
        pool = self._pools.get(one.signature)
        if pool is not None:
            pool.pop(one, None)
            if not pool:
                del self._pools[one.signature]

    def move(self, one: Listener, signature: str) -> None:
        """Change a device's signature; it keeps waiting if it did."""
        waits = one in self._pools.get(one.signature, {})
        if waits:
            self.remove(one)
        one.signature = signature
        if waits:
            self._pools.setdefault(signature, {})[one] = UNTRIED

    def counts(self) -> dict[str, int]:
        """Return how many wait, by signature."""
        return {signature: len(pool) for signature, pool in self._pools.items()}

    def _reached(self, signature: str) -> int:
        found = self._slots.get(signature)
        if found is None:
            found = sum(self._open.get(group, 0) for group in signature.split("+"))
            self._slots[signature] = found
        return found

    def _wake_in_turn(self, wanted: dict[str, int]) -> None:
        """Wake one of each signature after the other.

        The first to ask are the first to be bound, and signatures compete for the same rounds: all
        of one before the next would leave the last one's devices idle for ever.
        """
        while wanted:
            for signature in list(wanted):
                wanted[signature] -= 1
                if wanted[signature] < 0 or not self._wake_next(signature):
                    del wanted[signature]

    def _wake_next(self, signature: str) -> bool:
        slots = self._reached(signature)
        tries = self._tries.get(signature, 4 * slots + SPARE_TRIES if slots else 0)
        pool = self._pools.get(signature)
        if not tries or not pool:
            return False
        one, tried = next(iter(pool.items()))
        if tried >= self.version:
            return False  # the longest waiting has been tried, so all have
        self._tries[signature] = tries - 1
        self.remove(one)
        one.pushed = True
        one.feed(DemandOpened())
        return True
