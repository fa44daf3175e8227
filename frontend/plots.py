"""What every chart has, whatever is drawn in it: two axes, words, and figures to be read. Pure.

A template writes it as SVG, so that it is there without a script, and a section with a chart is
pushed like any other. The script that reads figures off it finds them in words, and is the same
for all charts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from frontend.axes import Tick

Title = str | tuple[float, float]
"""Text, or a stretch of time in seconds of the epoch, which is told in the viewer's zone."""


@dataclass(frozen=True, slots=True)
class Row:
    """One series as it is read: places on the horizontal axis, and the figure there in words.

    ``mark`` names the classes of its mark in a legend.
    """

    label: str
    mark: str
    texts: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Reading:
    """The places where a chart can be read, with their titles, and its series.

    A series' figure stands for places up to ``near`` away, both in the unit of the axis.
    """

    ends: tuple[float, float]
    titles: Mapping[float, Title]
    rows: Sequence[Row]
    near: float = 0.0

    @property
    def data(self) -> dict[str, object]:
        """The same for the script: a series names each place by its number."""
        stops = sorted(self.titles)
        number = {place: index for index, place in enumerate(stops)}
        return {
            "x": self.ends,
            "near": self.near,
            "stops": [[place, self.titles[place]] for place in stops],
            "rows": [
                {
                    "label": row.label[:1].upper() + row.label[1:],
                    "mark": row.mark,
                    "points": [[number[place], text] for place, text in row.texts],
                }
                for row in self.rows
            ],
        }


@dataclass(frozen=True, slots=True)
class Plot:
    """One chart without what is drawn in it; ``key`` tells it from others of its page."""

    key: str
    words: str
    x_title: str
    y_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    reading: Reading

    @property
    def data_id(self) -> str:
        """The id of the element that holds the reading for a script."""
        return f"plot-data-{self.key}"
