"""Charts as geometry: series in, lines and ticks out, in hundredths of the drawing's sides. Pure.

A template writes them as SVG, so that they are there without a script, and a section with a chart
is pushed like any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from frontend import metric_words
from frontend.asked import TIME
from frontend.selectors.measures import KINDS, Point, Series

DOTS_MAX = 30
"""Of a line with fewer points, each is drawn, with its value as a tooltip."""
TICKS = 5
LABEL_GAP, LABEL_WIDTH = 7.0, 4.0
LETTERS = "ABCDEF"
_TIME_UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))


@dataclass(frozen=True, slots=True)
class Source:
    """A job whose series are drawn; by time, from ``began_at`` on."""

    job_id: UUID
    name: str
    letter: str
    began_at: datetime
    series: Series


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """One point of a line, and its value in words."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series of one job. ``tone`` names its colour; ``points`` is ready for a polyline.

    ``values`` are (place on the axis, value, round).
    """

    letter: str
    label: str
    kind: str
    tone: str
    points: str
    values: list[tuple[float, float, int]]
    dots: list[Dot]
    end: Dot


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: a metric of some jobs."""

    name: str
    number: int
    title: str
    x_title: str
    y_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]
    labels: list[Line]
    by: str
    ends: tuple[tuple[float, float], tuple[float, float]]

    @property
    def summary(self) -> str:
        """The newest value of each line, in words."""
        return "; ".join(f"{line.label}: {line.end.text}" for line in self.lines)

    @property
    def data(self) -> dict[str, object]:
        """What a script needs to read values off the chart."""
        return {
            "by": self.by,
            "share": metric_words.is_share(self.name),
            "x": self.ends[0],
            "y": self.ends[1],
            "lines": [
                {"label": one.label, "tone": one.tone, "kind": one.kind, "points": one.values}
                for one in self.lines
            ],
        }

    @property
    def data_id(self) -> str:
        """The id of the element that holds the points for a script."""
        return f"plot-data-{self.number}"


@dataclass(frozen=True, slots=True)
class _Axis:
    """The ends of an axis and its ticks, in the values' own unit."""

    low: float
    high: float
    step: float
    unit: float = 1.0
    title: str = ""

    def at(self, value: float) -> float:
        """Return where a value lies, from 0 to 100."""
        return 100 * (value - self.low) / (self.high - self.low)

    def values(self) -> list[float]:
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        return [index * self.step for index in range(first, last + 1)]


def panel(name: str, number: int, sources: Sequence[Source], *, by: str) -> Panel | None:
    """Return the chart of one metric; ``None`` if nobody measured it."""
    found = [
        (source, kind, source.series[kind, name])
        for source in sources
        for kind in KINDS
        if source.series.get((kind, name))
    ]
    if not found:
        return None
    places = [_places(points, source, by) for source, _, points in found]
    x = _x_axis(max(max(line) for line in places), by)
    y = _y_axis(name, [point.value for *_, points in found for point in points])
    lines = [
        _line(name, source, kind, points, xs, x, y, alone=len(sources) == 1)
        for (source, kind, points), xs in zip(found, places, strict=True)
    ]
    return Panel(
        name=name,
        number=number,
        title=metric_words.title(name),
        x_title=x.title,
        y_title=metric_words.axis(name),
        x_ticks=[Tick(round(x.at(at), 2), figure(at / x.unit)) for at in x.values()],
        y_ticks=[Tick(round(100 - y.at(at), 2), _y_text(name, at, y.step)) for at in y.values()],
        lines=lines,
        labels=_apart(lines) if len(sources) > 1 else [],
        by=by,
        ends=((x.low, x.high), (y.low, y.high)),
    )


def elapsed(source: Source, point: Point) -> float:
    """Return the seconds from the job's start to a point."""
    return max(0.0, (point.at - source.began_at).total_seconds())


def _places(points: Iterable[Point], source: Source, by: str) -> list[float]:
    if by == TIME:
        return [elapsed(source, point) for point in points]
    return [float(point.number) for point in points]


def _x_axis(high: float, by: str) -> _Axis:
    if by != TIME:
        high = max(5.0, high)
        return _Axis(0.0, high, max(1.0, nice(high / TICKS)), title="Round")
    high = max(1.0, high)
    size, unit = next(one for one in _TIME_UNITS if high >= 2 * one[0] or one[0] == 1)
    step = size * nice(high / size / TICKS)
    return _Axis(0.0, high, step, unit=size, title=f"Time since the job started ({unit})")


def _y_axis(name: str, values: Sequence[float]) -> _Axis:
    low, high = min(values), max(values)
    if low >= 0 and low < 0.6 * high and not metric_words.is_share(name):
        low = 0.0
    span = high - low or abs(high) or 1.0
    step = nice(span / TICKS)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    if high <= low:
        low, high = low - step, low + step
    if metric_words.is_share(name):
        low, high = max(0.0, low), min(1.0, high)
        if high <= low:
            low, high = (0.0, step) if high <= 0 else (1.0 - step, 1.0)
    return _Axis(low, high, step)


def _line(
    name: str,
    source: Source,
    kind: str,
    points: Sequence[Point],
    xs: Sequence[float],
    x: _Axis,
    y: _Axis,
    *,
    alone: bool,
) -> Line:
    places = [(x.at(at), 100 - y.at(point.value)) for at, point in zip(xs, points, strict=True)]
    word = KINDS[kind]
    label = word.capitalize() if alone else f"{source.letter} {source.name}, {word}"
    texts = [f"round {one.number}: {metric_words.written(name, one.value)}" for one in points]
    dots = [
        Dot(round(left, 2), round(top, 2), f"{label}, {text}")
        for (left, top), text in zip(places, texts, strict=True)
    ]
    return Line(
        letter=source.letter,
        label=label,
        kind=kind,
        tone=kind if alone else f"tone-{LETTERS.index(source.letter)}",
        points=" ".join(f"{10 * left:.1f},{10 * top:.1f}" for left, top in places),
        values=[
            (round(at, 3), point.value, point.number) for at, point in zip(xs, points, strict=True)
        ],
        dots=dots if len(dots) <= DOTS_MAX else [],
        end=Dot(dots[-1].x, dots[-1].y, texts[-1]),
    )


def _apart(lines: Sequence[Line]) -> list[Line]:
    """Return a label for each job, at the end of its first line, none upon another."""
    first: dict[str, Line] = {}
    for line in lines:
        first.setdefault(line.letter, line)
    placed: list[Line] = []
    for line in sorted(first.values(), key=lambda one: one.end.y):
        near = [one.end.y for one in placed if abs(one.end.x - line.end.x) < LABEL_WIDTH]
        y = max([line.end.y, *(other + LABEL_GAP for other in near)])
        placed.append(replace(line, end=Dot(line.end.x, round(y, 2), line.end.text)))
    return placed


def nice(step: float) -> float:
    """Return the next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * one for one in (1, 2, 5, 10) if step <= power * one * (1 + 1e-9))


def figure(value: float) -> str:
    """Return a figure with thin spaces between thousands."""
    return f"{value:,.10g}".replace(",", "\u202f")


def _y_text(name: str, value: float, step: float) -> str:
    if metric_words.is_share(name):
        return f"{100 * value:.{max(0, _places_of(100 * step))}f}"
    if abs(value) >= 1e6 or 0 < abs(value) < 1e-4:
        return f"{value:.3g}"
    return f"{value:,.{max(0, _places_of(step))}f}".replace(",", "\u202f")


def _places_of(step: float) -> int:
    return -math.floor(math.log10(step) + 1e-9)
