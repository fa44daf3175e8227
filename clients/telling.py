"""How counts of shared pools are told: none so small, nor so near to its whole, that it tells of
single devices. Pure: counts in, bounds out.

A count below :data:`SMALL` is told as 1 to 4. That is not enough where its complement is told too:
beside "43 of 46" stands, unsaid, "3 not". So a count is told by its bounds there as well.

How many devices a pool has is told everywhere, exactly from :data:`SMALL` on, since whoever looks
twice would learn it anyway; so what a page tells of its parts has to hold beside that sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.figures import figure

SMALL = 5


@dataclass(frozen=True, slots=True)
class Told:
    """A count as a tenant may know it: at least, at most."""

    least: int = 0
    most: int = 0

    @property
    def text(self) -> str:
        """The count in figures: exact, below some number, or from one to another."""
        if self.least == self.most:
            return figure(self.least)
        if self.least <= 1:
            return f"<{figure(self.most + 1)}"
        return f"{figure(self.least)} to {figure(self.most)}"

    @property
    def drawn(self) -> float:
        """The length of its bar: the same for all counts that are told alike."""
        return (self.least + self.most) / 2

    def __bool__(self) -> bool:
        return self.most > 0

    def __add__(self, other: Told) -> Told:
        return Told(self.least + other.least, self.most + other.most)

    def plus(self, known: int) -> Told:
        """Add what is known exactly, such as devices of one's own."""
        return Told(self.least + known, self.most + known)

    def without(self, part: Told) -> Told:
        """Return what is left without a part of it."""
        return Told(max(0, self.least - part.most), max(0, self.most - part.least))

    def share(self, fraction: float) -> Told:
        """Return about how many of them a share is."""
        return Told(round(self.least * fraction), round(self.most * fraction))

    def and_also(self, other: Told) -> Told:
        """Return what two true accounts of one count tell together."""
        return Told(max(self.least, other.least), min(self.most, other.most))


def exact(count: int) -> Told:
    """Return a count that may be told as it is."""
    return Told(count, count)


def alone(count: int) -> Told:
    """Return a count of which no whole and no other part is told."""
    return Told(1, SMALL - 1) if 0 < count < SMALL else exact(count)


def within(counts: Sequence[int]) -> list[Told]:
    """Return counts each of which is part of the one before it.

    >>> [one.text for one in within([46, 43, 2])]
    ['46', '42 to 45', '<5']
    """
    found: list[Told] = []
    whole: int | None = None
    for count in counts:
        told = alone(count)
        if whole is not None and 0 < whole - count < SMALL:
            near = Told(max(1, whole - SMALL + 1), whole - 1)
            told = near if count >= SMALL else Told(1, max(SMALL - 1, whole - 1))
        if told.least == told.most:
            whole = count
        found.append(told)
    return found


def passing(told: Told, *, whole: Told) -> Told:
    """Tell who is online by fives, beside others of that kind, unless it is all or nothing.

    From one exact count of those online and another of those at work, a small number that waits
    could be had.

    >>> [passing(exact(count), whole=exact(20)).text for count in (0, 6, 15, 20)]
    ['0', '5 to 9', '15 to 19', '20']
    """
    if told.least != told.most or not told or told == whole:
        return told
    least = told.least - told.least % SMALL
    return Told(least, min(least + SMALL - 1, whole.most))


def parts(counts: Sequence[int]) -> list[Told]:
    """Return counts whose sum is known: beside a small one, the largest is no longer exact.

    Where so few are to be divided that small ones may be all there is, nothing is told of how.

    >>> [one.text for one in parts([3, 43, 0])]
    ['<5', '42 to 45', '0']
    >>> [one.text for one in parts([4, 4, 0])]
    ['<9', '<9', '<9']
    """
    small = [index for index, count in enumerate(counts) if 0 < count < SMALL]
    if not small:
        return [exact(count) for count in counts]
    if sum(counts) <= (SMALL - 1) * sum(count > 0 for count in counts):
        return [Told(0, max(SMALL - 1, sum(counts))) for _ in counts]
    found = [alone(count) for count in counts]
    largest = max(range(len(counts)), key=lambda index: counts[index])
    both = counts[largest] + sum(counts[index] for index in small)
    found[largest] = Told(both - (SMALL - 1) * len(small), both - len(small))
    return found


def split(counts: Sequence[int], whole: Told) -> list[Told]:
    """Return the parts of a whole that is told beside them: their sum tells no more than it does.

    >>> [one.text for one in split([20, 15], Told(34, 37))]
    ['19 to 22', '15']
    """
    found = parts(counts)
    if whole.least < whole.most and counts:
        largest = max(range(len(counts)), key=lambda index: counts[index])
        under, over = sum(counts) - whole.least, whole.most - sum(counts)
        told = found[largest]
        found[largest] = Told(max(0, told.least - max(0, under)), told.most + max(0, over))
    return found
