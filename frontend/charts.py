"""Metrics by round or by time as charts: series in, lines and ticks out. Pure."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from frontend import axes, metric_words, words
from frontend.asked import TIME
from frontend.axes import Axis
from frontend.plots import Plot, Reading, Row
from frontend.selectors.measures import KINDS, Point, Series

DOTS_MAX = 30
"""Of a line with fewer points, each is drawn, with its value as a tooltip."""
TICKS = 5
LABEL_GAP, LABEL_WIDTH = 7.0, 4.0
LABEL_ENDS = (2.0, 97.0)
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
class Dot:
    """One point of a line, and its value in words."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series of one job. ``tone`` names its colour; ``points`` is ready for a polyline.

    ``values`` are (place on the axis, value in words, round).
    """

    letter: str
    label: str
    kind: str
    tone: str
    points: str
    values: list[tuple[float, str, int]]
    dots: list[Dot]
    end: Dot


@dataclass(frozen=True, slots=True)
class Panel(Plot):
    """One chart: a metric of some jobs."""

    name: str
    title: str
    lines: list[Line]
    labels: list[Line]


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
    x, unit, x_title = _x_axis(max(max(line) for line in places), by)
    y = _y_axis(name, [point.value for *_, points in found for point in points])
    lines = [
        _line(name, source, kind, points, xs, x, y, alone=len(sources) == 1)
        for (source, kind, points), xs in zip(found, places, strict=True)
    ]
    title = metric_words.title(name)
    newest = "; ".join(f"{line.label}: {line.end.text}" for line in lines)
    return Panel(
        key=str(number),
        words=f"{title} by {by}. Newest: {newest}",
        x_title=x_title,
        y_title=metric_words.axis(name),
        x_ticks=x.across(lambda value: axes.figure(value / unit)),
        y_ticks=y.upwards(functools.partial(_y_text, name, step=y.step)),
        reading=_reading(lines, x, by),
        name=name,
        title=title,
        lines=lines,
        labels=_apart(lines) if len(sources) > 1 else [],
    )


def elapsed(source: Source, point: Point) -> float:
    """Return the seconds from the job's start to a point."""
    return max(0.0, (point.at - source.began_at).total_seconds())


def _places(points: Iterable[Point], source: Source, by: str) -> list[float]:
    if by == TIME:
        return [round(elapsed(source, point), 3) for point in points]
    return [float(point.number) for point in points]


def _x_axis(high: float, by: str) -> tuple[Axis, float, str]:
    """Return the axis, the size of the unit that its ticks count, and its title."""
    if by != TIME:
        high = max(5.0, high)
        return Axis(0.0, high, max(1.0, axes.nice(high / TICKS))), 1, "Round"
    high = max(1.0, high)
    size, unit = next(one for one in _TIME_UNITS if high >= 2 * one[0] or one[0] == 1)
    step = size * axes.nice(high / size / TICKS)
    return Axis(0.0, high, step), size, f"Time since the job started ({unit})"


def _y_axis(name: str, values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    is_share = metric_words.is_share(name)
    if low >= 0 and low < 0.6 * high and not is_share:
        low = 0.0
    axis = axes.around(low, high, ticks=TICKS)
    if not is_share:
        return axis
    low, high, step = max(0.0, axis.low), min(1.0, axis.high), axis.step
    if high <= low:
        low, high = (0.0, step) if high <= 0 else (1.0 - step, 1.0)
    return Axis(low, high, step)


def _reading(lines: Sequence[Line], x: Axis, by: str) -> Reading:
    """Return what is read off: by round the same round of all jobs.

    By time, two jobs have no round at the same second: what is near enough stands for it.
    """
    is_time = by == TIME
    places = {place for line in lines for place, *_ in line.values}
    rows = [
        Row(
            label=line.label,
            mark=f"{line.kind} {line.tone}",
            texts=[
                (place, f"{text} (round {number})" if is_time else text)
                for place, text, number in line.values
            ],
        )
        for line in lines
    ]
    return Reading(
        ends=(x.low, x.high),
        titles={
            one: f"After {words.duration(one)}" if is_time else f"Round {one:.0f}" for one in places
        },
        rows=rows,
        near=(x.high - x.low) / 40 if is_time else 0.0,
    )


def _line(
    name: str,
    source: Source,
    kind: str,
    points: Sequence[Point],
    xs: Sequence[float],
    x: Axis,
    y: Axis,
    *,
    alone: bool,
) -> Line:
    places = [(x.at(at), y.from_top(point.value)) for at, point in zip(xs, points, strict=True)]
    word = KINDS[kind]
    label = word.capitalize() if alone else f"{source.letter} {source.name}, {word}"
    values = [metric_words.written(name, one.value) for one in points]
    texts = [f"round {one.number}: {text}" for one, text in zip(points, values, strict=True)]
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
        values=[(at, text, one.number) for at, text, one in zip(xs, values, points, strict=True)],
        dots=dots if len(dots) <= DOTS_MAX else [],
        end=Dot(dots[-1].x, dots[-1].y, texts[-1]),
    )


def _apart(lines: Sequence[Line]) -> list[Line]:
    """Return a label for each job, at the end of its first line, none upon another."""
    first: dict[str, Line] = {}
    for line in lines:
        first.setdefault(line.letter, line)
    top, bottom = LABEL_ENDS
    down = _pushed(sorted(first.values(), key=lambda one: one.end.y), max, top, LABEL_GAP)
    # Those that were pushed onto the axis make room upwards.
    return _pushed(down[::-1], min, bottom, -LABEL_GAP)[::-1]


def _pushed(
    lines: Sequence[Line], keep: Callable[[Iterable[float]], float], end: float, gap: float
) -> list[Line]:
    """Return labels one after the other, each a gap on from those beside it that came before."""
    placed: list[Line] = []
    for line in lines:
        near = [one.end.y for one in placed if abs(one.end.x - line.end.x) < LABEL_WIDTH]
        y = keep([line.end.y, end, *(other + gap for other in near)])
        placed.append(replace(line, end=Dot(line.end.x, round(y, 2), line.end.text)))
    return placed


def _y_text(name: str, value: float, step: float) -> str:
    if metric_words.is_share(name):
        return f"{100 * value:.{max(0, _places_of(100 * step))}f}"
    if abs(value) >= 1e6 or 0 < abs(value) < 1e-4:
        return f"{value:.3g}"
    return f"{value:,.{max(0, _places_of(step))}f}".replace(",", "\u202f")


def _places_of(step: float) -> int:
    return -math.floor(math.log10(step) + 1e-9)
