"""What the terminal shows: a live table where there is one, plain lines where there is not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """One job as it stands. ``accuracy`` is the fleet's own, of the last evaluation round."""

    job: str
    tenant: str
    round: int
    rounds: int
    state: str
    bound: int
    reported: int
    accuracy: float | None
    finished: bool


@dataclass(frozen=True, slots=True)
class FleetState:
    """The fleet as the gateway sees it; ``None`` where it does not say."""

    devices: int
    connected: int | None
    at_work: int | None

    def words(self) -> str:
        """Say it."""
        if self.connected is None:
            return f"{self.devices} devices"
        text = f"{self.connected} of {self.devices} devices connected"
        return text if self.at_work is None else f"{text}, {self.at_work} at work"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one job ended. ``accuracy`` is the demo's own, on examples that no device has."""

    job: str
    tenant: str
    outcome: str
    rounds: int
    seconds: float | None
    devices: int
    model: str
    accuracy: float | None
    target: float

    @property
    def good(self) -> bool:
        """Whether it completed at its accuracy."""
        enough = self.accuracy is not None and self.accuracy >= self.target
        return self.outcome == "completed" and enough

    def fault(self) -> str:
        """Say what is wrong with it, if anything."""
        if self.good:
            return ""
        if self.outcome != "completed":
            return f"{self.job}: {self.outcome}"
        return f"{self.job}: accuracy {_share(self.accuracy)} is below {_share(self.target)}"


class View:
    """Shows the jobs while they run; a context, so that the terminal is left as it was."""

    def __init__(self, console: Console, url: str) -> None:
        self._console = console
        self._url = url
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._said: dict[str, str] = {}
        self._line_at = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, rows: Sequence[Row], fleet: FleetState) -> None:
        """Show the present state."""
        if self._live:
            self._live.update(self._table(rows, fleet))
        elif time.monotonic() - self._line_at >= LINE_EVERY_S:
            self._line_at = time.monotonic()
            for row in rows:
                line = _line(row)
                if self._said.get(row.job) != line:
                    self._said[row.job] = line
                    self._console.print(line, highlight=False, soft_wrap=True)

    def _table(self, rows: Sequence[Row], fleet: FleetState) -> RenderableType:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("job", "tenant"):
            table.add_column(name, no_wrap=True)
        for name in ("round", "bound", "reported", "accuracy"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(
                row.job,
                row.tenant,
                f"{row.round}/{row.rounds}",
                *(("", "") if row.finished else (str(row.bound), str(row.reported))),
                _share(row.accuracy),
                row.state,
                style="green" if row.finished else None,
            )
        return Group(
            table,
            Text(fleet.words(), style="dim"),
            Text(f"dashboard {self._url}", style="dim"),
        )


def _line(row: Row) -> str:
    accuracy = "" if row.accuracy is None else f", accuracy {_share(row.accuracy)}"
    return f"{row.tenant}/{row.job}: round {row.round}/{row.rounds}, {row.state}{accuracy}"


def results(outcomes: Sequence[Outcome]) -> RenderableType:
    """Return the table at the end, and under it where the models are."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("job", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in ("rounds", "time", "devices", "held-out accuracy"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in outcomes:
        table.add_row(
            one.job,
            one.outcome,
            str(one.rounds),
            "–" if one.seconds is None else f"{one.seconds:.0f} s",
            str(one.devices),
            f"{_share(one.accuracy)} (≥ {one.target:.2f})",
            style="green" if one.good else "red",
        )
    models = [Text(f"{one.job}: {one.model}", overflow="fold") for one in outcomes if one.model]
    return Group(table, Text(), *models)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
