"""The fleet's last day as a chart: devices by what they did, and what was asked for. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from frontend import axes
from frontend.axes import Axis, Tick
from frontend.plots import Plot, Reading, Row
from scheduling.day import STEP, Day, Stretch, share

TICK = timedelta(hours=4)
TICKS = 4
KINDS: tuple[tuple[str, str, Callable[[Stretch], float]], ...] = (
    ("mine", "working for you", lambda one: one.mine.drawn),
    ("others", "working for others", lambda one: one.others.drawn),
    ("idle", "idle, connected", lambda one: one.idle.drawn),
)


@dataclass(frozen=True, slots=True)
class Area:
    """What one kind of device fills, as the path of an SVG a thousand wide and high."""

    kind: str
    label: str
    path: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A quarter of an hour: from where to where it stands, and its figures in words."""

    left: float
    right: float
    stretch: Stretch
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class Chart(Plot):
    """The chart, and its figures for the table."""

    areas: list[Area]
    demand: str
    slices: list[Slice]


@functools.lru_cache(maxsize=256)
def chart(day: Day) -> Chart | None:
    """Return the chart of a day; None if nothing was counted within it.

    Drawn once: the same day is looked up for a minute.
    """
    if not day.stretches:
        return None
    most = max(max(one.online.drawn, one.asked.drawn) for one in day.stretches)
    x = Axis(day.since.timestamp(), day.until.timestamp(), TICK.total_seconds())
    y = axes.counting(most, ticks=TICKS)
    slices = [_slice(x, one) for one in day.stretches]
    return Chart(
        key="day",
        words="devices by what they did over the last 24 hours, and devices that rounds asked for",
        x_title="Time of day (UTC)",
        y_title="Devices",
        x_ticks=[hour(x, at) for at in x.values()],
        y_ticks=y.upwards(axes.figure),
        reading=_reading(x, slices),
        areas=_areas(slices, y),
        demand=_demand(slices, y),
        slices=slices,
    )


def _slice(x: Axis, one: Stretch) -> Slice:
    working = share([one])
    about = "" if working is None or working.is_exact else "about "
    figures = {
        "mine": one.mine,
        "others": one.others,
        "idle": one.idle,
        "online": one.online,
        "asked": one.asked,
    }
    return Slice(
        left=round(x.at(one.at.timestamp()), 2),
        right=round(x.at((one.at + STEP).timestamp()), 2),
        stretch=one,
        cells={kind: figure.text for kind, figure in figures.items()}
        | {"share": "–" if working is None else f"{about}{working.percent}\u202f%"},
    )


def hour(x: Axis, at: float) -> Tick:
    """Return a whole hour; the page writes it anew in the viewer's zone."""
    time = datetime.fromtimestamp(at, UTC)
    return Tick(round(x.at(at), 2), f"{time:%H:%M}", time)


def _areas(slices: Sequence[Slice], y: Axis) -> list[Area]:
    base = [0.0] * len(slices)
    areas = []
    for kind, label, height in KINDS:
        path = []
        for at, one in enumerate(slices):
            tall = height(one.stretch)
            if tall:
                path.append(box(y, one.left, one.right, base[at], tall))
            base[at] += tall
        areas.append(Area(kind, label, "".join(path)))
    return areas


def box(y: Axis, left: float, right: float, base: float, tall: float) -> str:
    """Return the path of a piece of an area that stands on ``base``."""
    top, down = 10 * y.from_top(base + tall), 10 * y.at(tall)
    return f"M{10 * left:.1f},{top:.1f}H{10 * right:.1f}v{down:.1f}H{10 * left:.1f}z"


def _demand(slices: Sequence[Slice], y: Axis) -> str:
    """Return a stepped line, broken where nothing was counted."""
    path, end = [], -1.0
    for one in slices:
        top = 10 * y.from_top(one.stretch.asked.drawn)
        joins = one.left == end
        path.append(f"V{top:.1f}" if joins else f"M{10 * one.left:.1f},{top:.1f}")
        path.append(f"H{10 * one.right:.1f}")
        end = one.right
    return "".join(path)


def _reading(x: Axis, slices: Sequence[Slice]) -> Reading:
    """Return what is read off: each quarter of an hour at its middle."""
    stretches = [
        (one.stretch.at.timestamp(), (one.stretch.at + STEP).timestamp()) for one in slices
    ]
    middles = [(begin + end) / 2 for begin, end in stretches]
    rows = [(label, kind) for kind, label, _ in KINDS]
    rows += [("asked for by rounds", "asked"), ("at work", "share")]
    return Reading(
        ends=(x.low, x.high),
        titles=dict(zip(middles, stretches, strict=True)),
        rows=[
            Row(
                label,
                kind,
                [(at, one.cells[kind]) for at, one in zip(middles, slices, strict=True)],
            )
            for label, kind in rows
        ],
    )
