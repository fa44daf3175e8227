"""Device-hours by day as a chart: sums in, bars and ticks out. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from frontend import axes, words
from frontend.axes import Axis, Tick
from frontend.plots import Plot, Reading, Row
from frontend.selectors.usage import Sum

TICKS, DATES = 4, 7


@dataclass(frozen=True, slots=True)
class Bar:
    """A day's bar, in thousandths of the drawing."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart(Plot):
    """The chart of a period."""

    bars: list[Bar]


def chart(days: Sequence[Sum]) -> Chart | None:
    """Return the chart of days in their order; None if nothing was used within them."""
    most = max((one.device_hours for one in days), default=0.0)
    if not most:
        return None
    y = axes.around(0.0, most, ticks=TICKS)
    x = Axis(0.0, len(days), max(1, math.ceil(len(days) / DATES)))
    return Chart(
        key="usage",
        words=f"device-hours by day over the last {words.count(len(days), 'day')}",
        x_title="Day (UTC)",
        y_title="Device-hours",
        x_ticks=[
            Tick(round(x.at(at + 0.5), 2), f"{days[int(at)].day:%-d %b}")
            for at in x.values()
            if at < len(days)
        ],
        y_ticks=y.upwards(axes.figure),
        reading=_reading(x, days),
        bars=[_bar(x, y, at, one.device_hours) for at, one in enumerate(days) if one.device_hours],
    )


def _bar(x: Axis, y: Axis, at: int, hours: float) -> Bar:
    top, height = 10 * y.from_top(hours), 10 * y.at(hours)
    return Bar(
        round(10 * x.at(at + 0.1), 1), round(top, 1), round(8 * x.at(1), 1), round(height, 1)
    )


def _reading(x: Axis, days: Sequence[Sum]) -> Reading:
    middles = [at + 0.5 for at in range(len(days))]
    figures = (
        ("device-hours", [f"{one.device_hours:,.2f}".replace(",", "\u202f") for one in days]),
        ("rounds", [words.figure(one.rounds) for one in days]),
        ("reports", [words.figure(one.reported) for one in days]),
    )
    return Reading(
        ends=(x.low, x.high),
        titles={at: f"{one.day:%a, %-d %b %Y}" for at, one in zip(middles, days, strict=True)},
        rows=[
            Row(
                label,
                "used" if label == "device-hours" else "",
                list(zip(middles, texts, strict=True)),
            )
            for label, texts in figures
        ],
    )
