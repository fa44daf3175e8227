"""The fleet's last day by speed tier as a chart: connected devices, stacked. Pure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from frontend import axes, day_chart
from frontend.axes import Axis
from frontend.day_chart import TICK, TICKS, Area
from frontend.plots import Plot, Reading, Row
from scheduling.day import STEP, Day
from scheduling.tier_counts import Tier, TierStretch


@dataclass(frozen=True, slots=True)
class Chart(Plot):
    """The chart, and its figures for the table."""

    areas: list[Area]
    stretches: Sequence[TierStretch]


@functools.lru_cache(maxsize=256)
def chart(day: Day) -> Chart | None:
    """Return the chart of a day by tier; None if no tier was told within it."""
    if not day.by_tier:
        return None
    most = max(sum(tier.online.drawn for tier in one.tiers) for one in day.by_tier)
    x = Axis(day.since.timestamp(), day.until.timestamp(), TICK.total_seconds())
    y = axes.counting(most, ticks=TICKS)
    return Chart(
        key="tiers",
        words="connected devices by speed tier over the last 24 hours",
        x_title="Time of day (UTC)",
        y_title="Devices",
        x_ticks=[day_chart.hour(x, at) for at in x.values()],
        y_ticks=y.upwards(axes.figure),
        reading=_reading(x, day.by_tier),
        areas=_areas(x, y, day.by_tier),
        stretches=day.by_tier[::-1],
    )


def label(number: int) -> str:
    """Return what a tier is called."""
    return f"tier {number}{', the fastest' if number == 1 else ''}"


def _areas(x: Axis, y: Axis, stretches: Sequence[TierStretch]) -> list[Area]:
    base = [0.0] * len(stretches)
    areas = []
    for number in range(1, 1 + max(len(one.tiers) for one in stretches)):
        path = []
        for at, one in enumerate(stretches):
            tall = tier.online.drawn if (tier := _tier(one, number)) else 0.0
            if tall:
                left, right = x.at(one.at.timestamp()), x.at((one.at + STEP).timestamp())
                path.append(day_chart.box(y, left, right, base[at], tall))
            base[at] += tall
        areas.append(Area(_tone(number), label(number), "".join(path)))
    return areas


def _reading(x: Axis, stretches: Sequence[TierStretch]) -> Reading:
    ends = [(one.at.timestamp(), (one.at + STEP).timestamp()) for one in stretches]
    middles = [(begin + end) / 2 for begin, end in ends]
    numbers = range(1, 1 + max(len(one.tiers) for one in stretches))
    return Reading(
        ends=(x.low, x.high),
        titles=dict(zip(middles, ends, strict=True)),
        rows=[
            Row(
                label(number),
                _tone(number),
                [
                    (at, f"{tier.online.text} connected, {tier.bound.text} at work")
                    for at, one in zip(middles, stretches, strict=True)
                    if (tier := _tier(one, number))
                ],
            )
            for number in numbers
        ],
    )


def _tier(stretch: TierStretch, number: int) -> Tier | None:
    return stretch.tiers[number - 1] if number <= len(stretch.tiers) else None


def _tone(number: int) -> str:
    return f"speed-{(number - 1) % 6}"
