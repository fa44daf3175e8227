"""What a leaf holds of each round: pure bookkeeping, no I/O.

A member is *waiting* until it is in a batch that was folded. Batches are cut in the order of the
members, as the root cuts those that come to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from aggregation.leaf.journal import Member
from aggregation.leaf.messages import Recipe


@dataclass(frozen=True, slots=True)
class Folded:
    """A batch whose sum is on the disk."""

    members: tuple[Member, ...]
    digest: str


@dataclass(slots=True)
class Holding:
    """One round's members. ``since`` is when the first of them came, by the caller's clock."""

    recipe: Recipe
    waiting: list[Member] = field(default_factory=list)
    folded: list[Folded] = field(default_factory=list)
    since: float | None = None
    wanted: bool = False

    def add(self, member: Member, *, now: float) -> None:
        """Take one more."""
        self.waiting.append(member)
        self.waiting.sort(key=lambda one: one.number)
        if self.since is None:
            self.since = now

    @property
    def count(self) -> int:
        """Return how many members it has."""
        return len(self.waiting) + sum(len(one.members) for one in self.folded)

    def members(self) -> list[Member]:
        """Return all, in order."""
        return [one for batch in self.folded for one in batch.members] + self.waiting

    def batch(self, size: int, *, rest: bool) -> tuple[Member, ...]:
        """Return what to fold next: a full batch, or with ``rest`` also what is left over."""
        if len(self.waiting) >= size or (rest and self.waiting):
            return tuple(self.waiting[:size])
        return ()

    def fold(self, batch: Folded) -> None:
        """Note that a batch was folded; members that went meanwhile take it back."""
        if tuple(self.waiting[: len(batch.members)]) != batch.members:
            return
        del self.waiting[: len(batch.members)]
        self.folded.append(batch)

    def without(self, gone: Collection[str]) -> list[Member]:
        """Drop members, and fold anew what is left; returns the dropped."""
        every = self.members()
        self.folded.clear()
        self.waiting = [one for one in every if one.assignment not in gone]
        if not self.waiting:
            self.since, self.wanted = None, False
        return [one for one in every if one.assignment in gone]

    def is_due(self, *, now: float, count: int, age_s: float) -> bool:
        """Tell whether to hand over: the root wants it, there is enough, or it has waited."""
        if self.since is None:
            return False
        return self.wanted or self.count >= count or now - self.since >= age_s


def digests(holdings: Iterable[Holding]) -> set[str]:
    """Return every blob that the holdings need."""
    found: set[str] = set()
    for one in holdings:
        if one.count:
            found.add(one.recipe.base)
        found |= {member.said.digest for member in one.members()}
        found |= {batch.digest for batch in one.folded}
    return found
