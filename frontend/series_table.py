"""The figures behind charts as one table, for who does not see them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from frontend import metric_words, words
from frontend.asked import TIME
from frontend.charts import Source, elapsed
from frontend.selectors.measures import KINDS


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by job, metric and what measured it; a row for each round, the newest first."""

    columns: list[str]
    rows: list[tuple[int, list[str]]]


def table(names: Sequence[str], sources: Sequence[Source], *, by: str) -> Table:
    """Return the values of some metrics of some jobs; by time, each with its time."""
    columns: list[str] = []
    cells: dict[int, dict[int, str]] = {}
    for source in sources:
        for kind, word in KINDS.items():
            for name in names:
                points = source.series.get((kind, name))
                if not points:
                    continue
                whose = f"{source.letter} " if len(sources) > 1 else ""
                columns.append(f"{whose}{word} {name}".strip())
                for point in points:
                    text = metric_words.written(name, point.value)
                    if by == TIME:
                        text += f" at {words.duration(elapsed(source, point))}"
                    cells.setdefault(point.number, {})[len(columns) - 1] = text
    return Table(
        columns=[one[:1].upper() + one[1:] for one in columns],
        rows=[
            (number, [cells[number].get(index, "–") for index in range(len(columns))])
            for number in sorted(cells, reverse=True)
        ],
    )
