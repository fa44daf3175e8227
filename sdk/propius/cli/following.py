"""``propius job wait | watch | logs``: stay with a job until it has ended."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from propius.calls import MANY
from propius.cli import profile
from propius.cli.job_ids import JobArgument
from propius.cli.words import Output, OutputOption, explained, plain, show_one
from propius.client import Client
from propius.events import Event
from propius.resources import Job, Round

if TYPE_CHECKING:
    from rich.console import Group

STATUS = {"completed": 0, "failed": 3, "cancelled": 4, "rejected": 5, "expired": 6}
"""Exit status by a job's outcome; 1 and 2 say that there was none to tell."""
TIMED_OUT = 7
NEWEST = 50
"""Rounds that are looked at each second: a job may have a hundred thousand."""
SHOWN = 12
TimeoutOption = Annotated[
    float | None,
    typer.Option("--timeout", min=0, help="Give up after so many seconds; the job goes on."),
]
Show = Callable[[Job, list[Round]], None]


@explained
def wait(
    job: JobArgument, timeout: TimeoutOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Wait until a job has finished, and say nothing before; the status tells its outcome."""
    with profile.client(retries=MANY) as client:
        end(_until_end(client, job, lambda *_: None, timeout), output)


@explained
def watch(
    job: JobArgument, timeout: TimeoutOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Watch a job until it has finished: live in a terminal, else a line for each round."""
    with profile.client(retries=MANY) as client:
        end(watched(client, job, output, timeout), output)


@explained
def logs(
    job: JobArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has finished.")
    ] = False,
    after: Annotated[str, typer.Option(help="Begin after the event of this number.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Print what happened to a job, an event in a line; with --output json, an object in each."""
    with profile.client(retries=MANY) as client:
        for event in client.events(job, after=after, follow=follow):
            typer.echo(_event_line(event) if output is Output.TABLE else _event_json(event))


def watched(client: Client, job: str, output: Output, timeout_s: float | None) -> Job:
    """Show a job's course, if people read; return it as it is at its end, or at the time-out."""
    if output is Output.JSON:
        return _until_end(client, job, lambda *_: None, timeout_s)
    shown: AbstractContextManager[Show] = _live() if sys.stdout.isatty() else _lines()
    with shown as show:
        return _until_end(client, job, show, timeout_s)


def end(job: Job, output: Output) -> None:
    """Print a job and leave with the status of its outcome."""
    show_one(job, output, without=["spec"])
    if not job.finished:
        typer.echo(f"error: job {job.id} is not finished yet; it goes on", err=True)
        raise typer.Exit(TIMED_OUT)
    if output is Output.TABLE and job.outcome == "completed":
        typer.echo(f"its model: propius job download {job.id} model.safetensors")
    raise typer.Exit(STATUS.get(job.outcome, 1))


def _until_end(
    client: Client, job: str, show: Show, timeout_s: float | None, every_s: float = 1.0
) -> Job:
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        found = client.job(job)
        newest = list(itertools.islice(client.rounds(job), NEWEST))
        show(found, sorted(newest, key=lambda one: str(one["opened_at"])))
        left_s = every_s if until is None else until - time.monotonic()
        if found.finished or left_s <= 0:
            return found
        time.sleep(min(every_s, left_s))


@contextmanager
def _lines() -> Iterator[Show]:
    """Print each round once as it ends, and each reason to wait that lasts."""
    told: set[str] = set()
    seen = waiting = ""

    def show(job: Job, rounds: list[Round]) -> None:
        nonlocal seen, waiting
        for one in rounds:
            if one.status == "finished" and one.id not in told:
                told.add(one.id)
                typer.echo(_line(one))
        now = job.waiting.message
        if now and now != waiting and now == seen:
            typer.echo(f"  {now}")
            waiting = now
        seen = now

    yield show


@contextmanager
def _live() -> Iterator[Show]:
    """Redraw the job and its newest rounds in place."""
    from rich.live import Live  # not at the top: a device, idle for months, would hold it

    with Live(auto_refresh=False) as live:
        yield lambda job, rounds: live.update(_view(job, rounds), refresh=True)


def _view(job: Job, rounds: list[Round]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    title = Text.assemble(
        (job.name, "bold"), f"  {job.outcome or job.status}  version {job.version}"
    )
    table = Table("round", "kind", "state", "reported", "metrics", box=None, pad_edge=False)
    for one in rounds[-SHOWN:]:
        table.add_row(
            str(one.number), one.kind, one.outcome or one.status,
            f"{one.reported} of {one.demand}", _metrics(one),
        )  # fmt: skip
    return Group(title, Text(job.waiting.message, style="dim"), table)


def _metrics(one: Round) -> str:
    numbers = {k: v for k, v in (one.metrics or {}).items() if isinstance(v, float | int)}
    return " ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def _line(one: Round) -> str:
    ended = one.outcome or one.status
    counts = f"{one.reported} of {one.demand} reported"
    return f"round {one.number} {one.kind} {ended}: {counts} {_metrics(one)}"


def _event_line(event: Event) -> str:
    about: dict[str, Any] = {"device": event.device} if event.device else {}
    words = " ".join(f"{name}={_word(value)}" for name, value in (about | event.data).items())
    return f"{event.id:>6} {event.at:%Y-%m-%d %H:%M:%S} {event.kind:20} {words}".rstrip()


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text) if " " in text else text


def _event_json(event: Event) -> str:
    return json.dumps(asdict(event) | {"at": event.at.isoformat()}, default=plain)
