"""The fleet's last day as a chart: devices stacked by what they did, and what was asked for. Pure.

Positions are in hundredths of the drawing's sides, so that a template writes it at any width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from frontend.charts import figure, nice
from frontend.selectors.day import STEP, Day, Stretch, share

TICK_HOURS = 4
TICKS = 4
KINDS: tuple[tuple[str, str, Callable[[Stretch], float]], ...] = (
    ("mine", "working for you", lambda one: one.mine.drawn),
    ("others", "working for others", lambda one: one.others.drawn),
    ("idle", "idle, connected", lambda one: one.idle.drawn),
)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    place: float
    text: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Area:
    """What one kind of device fills, as the path of an SVG a thousand wide and high."""

    kind: str
    label: str
    path: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A quarter of an hour: from where to where it stands, and its figures."""

    left: float
    right: float
    stretch: Stretch
    working: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart, its axes, and its figures for the table and for reading by key or pointer."""

    areas: list[Area]
    demand: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    slices: list[Slice]
    data: dict[str, object]


def chart(day: Day) -> Chart | None:
    """Return the chart of a day; None if nothing was counted within it."""
    if not day.stretches:
        return None
    most = max(max(one.online.drawn, one.asked.drawn) for one in day.stretches)
    step = max(1.0, nice(max(most, 1.0) / TICKS))
    high = step * max(1, math.ceil(most / step - 1e-9))
    slices = [_slice(day, one) for one in day.stretches]
    return Chart(
        areas=_areas(slices, high),
        demand=_demand(slices, high),
        x_ticks=_hours(day),
        y_ticks=[
            Tick(round(100 - 100 * step * at / high, 2), figure(step * at))
            for at in range(round(high / step) + 1)
        ],
        slices=slices,
        data=_data(day, slices),
    )


def _slice(day: Day, one: Stretch) -> Slice:
    working = share([one])
    about = "" if working is None or working.is_exact else "about "
    return Slice(
        left=_place(day, one.at),
        right=_place(day, one.at + STEP),
        stretch=one,
        working="–" if working is None else f"{about}{working.percent}\u202f%",
    )


def _place(day: Day, at: datetime) -> float:
    return round(100 * ((at - day.since) / (day.until - day.since)), 2)


def _areas(slices: Sequence[Slice], high: float) -> list[Area]:
    base = [0.0] * len(slices)
    areas = []
    for kind, label, height in KINDS:
        path = []
        for at, one in enumerate(slices):
            tall = height(one.stretch)
            if tall:
                top, down = 1000 - 1000 * (base[at] + tall) / high, 1000 * tall / high
                path.append(
                    f"M{10 * one.left:.1f},{top:.1f}H{10 * one.right:.1f}v{down:.1f}"
                    f"H{10 * one.left:.1f}z"
                )
            base[at] += tall
        areas.append(Area(kind, label, "".join(path)))
    return areas


def _demand(slices: Sequence[Slice], high: float) -> str:
    """Return a stepped line, broken where nothing was counted."""
    path, end = [], -1.0
    for one in slices:
        top = 1000 - 1000 * one.stretch.asked.drawn / high
        joins = one.left == end
        path.append(f"V{top:.1f}" if joins else f"M{10 * one.left:.1f},{top:.1f}")
        path.append(f"H{10 * one.right:.1f}")
        end = one.right
    return "".join(path)


def _hours(day: Day) -> list[Tick]:
    """Return whole hours; the page writes them anew in the viewer's zone."""
    at = day.since.replace(minute=0) + timedelta(hours=1 if day.since.minute else 0)
    ticks = []
    while at <= day.until:
        if at.hour % TICK_HOURS == 0:
            ticks.append(Tick(_place(day, at), f"{at:%H:%M}", at))
        at += timedelta(hours=1)
    return ticks


def _data(day: Day, slices: Sequence[Slice]) -> dict[str, object]:
    """Return what a script reads off: a column a quarter, each with its words."""
    figures = [
        (label, kind, [getattr(one.stretch, kind).text for one in slices])
        for kind, label, _ in KINDS
    ]
    figures += [
        ("asked for by rounds", "asked", [one.stretch.asked.text for one in slices]),
        ("at work", "share", [one.working for one in slices]),
    ]
    return {
        "x": [day.since.timestamp(), day.until.timestamp()],
        "at": [one.stretch.at.timestamp() for one in slices],
        "width": STEP.total_seconds(),
        "rows": [{"label": label, "tone": kind, "texts": texts} for label, kind, texts in figures],
    }
