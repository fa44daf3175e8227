"""How counts of shared pools are told: none so small, nor so near to its whole, that it tells of
single devices. Pure: counts in, bounds out.

A count below :data:`SMALL` is told as 1 to 4. That is not enough where its complement is told too:
beside "43 of 46" stands, unsaid, "3 not". So a count is told by its bounds there as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
            return _figure(self.least)
        if self.least <= 1:
            return f"<{_figure(self.most + 1)}"
        return f"{_figure(self.least)} to {_figure(self.most)}"

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


def parts(counts: Sequence[int]) -> list[Told]:
    """Return counts whose sum may be known: beside a small one, the largest is no longer exact.

    >>> [one.text for one in parts([3, 43, 0])]
    ['<5', '42 to 45', '0']
    """
    found = [alone(count) for count in counts]
    small = [index for index, count in enumerate(counts) if 0 < count < SMALL]
    others = [index for index, count in enumerate(counts) if count >= SMALL]
    if small and others:
        largest = max(others, key=lambda index: counts[index])
        both = counts[largest] + sum(counts[index] for index in small)
        found[largest] = Told(max(1, both - (SMALL - 1) * len(small)), both - len(small))
    return found


def _figure(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")
