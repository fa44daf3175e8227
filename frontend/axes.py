"""Axes: ticks at round figures, and where a value lies in hundredths of a drawing's side. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

LEAST, TINY = 1e-12, 1e-100
"""An axis spans at least so much of its values, and so much at all."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what it says; ``time`` is told anew in the viewer's zone."""

    at: float
    text: str
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """The ends of an axis and the step of its ticks, in the values' own unit."""

    low: float
    high: float
    step: float

    def at(self, value: float) -> float:
        """Return where a value lies from the left, or from the bottom: from 0 to 100."""
        return 100 * (value - self.low) / (self.high - self.low)

    def from_top(self, value: float) -> float:
        """Return where a value lies from the top, whence drawings count."""
        return 100 - self.at(value)

    def values(self) -> list[float]:
        """Return the multiples of the step between the ends."""
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        return [index * self.step for index in range(first, last + 1)]

    def across(self, text: Callable[[float], str]) -> list[Tick]:
        """Return the ticks of a horizontal axis."""
        return [Tick(round(self.at(one), 2), text(one)) for one in self.values()]

    def upwards(self, text: Callable[[float], str]) -> list[Tick]:
        """Return the ticks of a vertical axis."""
        return [Tick(round(self.from_top(one), 2), text(one)) for one in self.values()]


def nice(step: float) -> float:
    """Return the next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * one for one in (1, 2, 5, 10) if step <= power * one * (1 + 1e-9))


def counting(most: float, *, ticks: int) -> Axis:
    """Return an axis for whole things, from none to a tick that is not below the most."""
    step = max(1.0, nice(max(most, 1.0) / ticks))
    return Axis(0.0, step * max(1, math.ceil(most / step - 1e-9)), step)


def around(low: float, high: float, *, ticks: int) -> Axis:
    """Return an axis from the last tick not above ``low`` to the first not below ``high``."""
    span = high - low or abs(high) or 1.0
    # Below that, floats have no steps left: what differs less is drawn as if it did not differ.
    step = nice(max(span, abs(high) * LEAST, abs(low) * LEAST, TINY) / ticks)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(low, high, step) if high > low else Axis(low - step, high + step, step)


def figure(value: float) -> str:
    """Return a figure with thin spaces between thousands."""
    return f"{value:,.10g}".replace(",", "\u202f")
