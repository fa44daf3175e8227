"""What the charts of a job's page show: chosen metrics of the job, and of others beside it."""

from __future__ import annotations

from dataclasses import dataclass

from frontend import asked as addresses
from frontend import charts, metric_words, series_table
from frontend.asked import Asked
from frontend.selectors import comparing, measures
from jobs.models import Job


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that the reader may ask for: its address, and whether it is shown now."""

    key: str
    text: str
    address: str
    is_shown: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """A job that is drawn; the address leaves it out, empty for the page's own."""

    source: charts.Source
    address: str


@dataclass(frozen=True, slots=True)
class Measured:
    """The charts, their table, and what else may be asked for."""

    own: measures.Series
    panels: list[charts.Panel]
    table: series_table.Table
    metrics: list[Choice]
    axes: list[Choice]
    drawn: list[Drawn]
    notes: list[str]
    compared: list[Job]


def measured(job: Job, asked: Asked) -> Measured:
    """Return the charts that were asked for; without being asked, accuracy and loss."""
    others = comparing.compared(job, asked.compare)
    found = measures.series([job, *others.jobs])
    sources = [
        charts.Source(one.id, one.name, letter, one.started_at or one.submitted_at, found[one.id])
        for letter, one in zip(charts.LETTERS, [job, *others.jobs], strict=False)
    ]
    names = metric_words.ordered(measures.names(found.values()))
    notes = others.notes + [
        f"Nobody has measured {name!r} yet." for name in asked.metrics if name not in names
    ]
    chosen = [name for name in asked.metrics if name in names]
    chosen = chosen or [name for name in names if name in metric_words.FIRST] or names[:1]
    panels = [
        panel
        for number, name in enumerate(chosen)
        if (panel := charts.panel(name, number, sources, by=asked.by)) is not None
    ]
    return Measured(
        own=found[job.id],
        panels=panels,
        table=series_table.table(chosen, sources, by=asked.by),
        metrics=[
            Choice(str(place), name, asked.toggled(name, chosen), name in chosen)
            for place, name in enumerate(names)
        ],
        axes=[
            Choice(by, text, asked.link(by=by), asked.by == by)
            for by, text in ((addresses.ROUND, "By round"), (addresses.TIME, "By time"))
        ],
        drawn=[Drawn(one, _without(asked, one)) for one in sources],
        notes=notes,
        compared=others.jobs,
    )


def _without(asked: Asked, source: charts.Source) -> str:
    kept = tuple(one for one in asked.compare if one != str(source.job_id))
    return asked.link(compare=kept) if kept != asked.compare else ""
