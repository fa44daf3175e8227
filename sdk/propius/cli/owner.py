"""``propius device doctor | history | pause | resume | leave``: the owner's side of a device."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from propius.agent import control, departure, doctor, identity
from propius.agent.history import Entry, History
from propius.cli.words import Output, OutputOption, UserError, explained, show_findings, show_rows

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="The device's folder; each device has its own. Default: $PROPIUS_DEVICE_HOME, "
        "else ~/.local/share/propius/device.",
    ),
]


def home_of(path: Path | None) -> identity.Home:
    """Return the folder that was named, or the usual one."""
    return identity.Home((path or identity.default_home()).expanduser())


def _there(path: Path | None) -> identity.Home:
    folder = home_of(path)
    if not folder.path.is_dir():
        raise UserError(f"there is no device in {folder.path}")
    return folder


@explained
def examine(home: HomeOption = None, output: OutputOption = Output.TABLE) -> None:
    """Check clock, network, version, disk, data sets and conditions; say the fix for each fault.

    The status is 1 if a check fails.
    """
    show_findings(doctor.examine(home_of(home)), output)


@explained
def history(
    home: HomeOption = None,
    output: OutputOption = Output.TABLE,
    limit: Annotated[int, typer.Option(min=1, help="So many of the newest.")] = 50,
) -> None:
    """List what ran here, for whom, and what it cost. Needs no network."""
    entries = History(_there(home) / "history.sqlite").entries(limit=limit)
    if output is Output.JSON:
        show_rows([asdict(one) for one in entries], [], output)
        return
    columns = ["started", "tenant", "job", "kind", "outcome", "in", "out", "seconds", "energy"]
    show_rows([_row(one) for one in entries], columns, output)


@explained
def pause(home: HomeOption = None) -> None:
    """Stop the work within a second, until `resume`. Needs no network."""
    new = control.pause(_there(home))
    typer.echo("paused" if new else "it was paused already")


@explained
def resume(home: HomeOption = None) -> None:
    """End a pause."""
    ended = control.resume(_there(home))
    typer.echo("it goes on" if ended else "it was not paused")


@explained
def leave(
    home: HomeOption = None,
    erase: Annotated[
        bool, typer.Option("--erase", help="Erase keys, caches, waiting updates and the history.")
    ] = False,
) -> None:
    """Leave the pool for good: the running agent ends, the platform forgets the key."""
    folder = _there(home)
    done = departure.leave(folder, erase=erase)
    if done.revoked:
        typer.echo("the platform has revoked this device")
    else:
        typer.echo(f"the platform does not know yet: {done.why_not}")
        if erase:
            typer.echo("its key is gone, so nobody can be this device again")
    for words in done.erased:
        typer.echo(f"erased: {words}")
    if not erase:
        typer.echo(f"its folder {folder.path} is kept; propius device leave --erase empties it")


def _row(one: Entry) -> dict[str, Any]:
    started = datetime.datetime.fromtimestamp(one.started_at)
    return {
        "started": started.strftime("%Y-%m-%d %H:%M"),
        "tenant": one.tenant,
        "job": f"{one.job_name} ({one.job})",
        "kind": one.kind,
        "outcome": one.outcome,
        "in": f"{one.bytes_in / 1e6:.2f} MB",
        "out": f"{one.bytes_out / 1e6:.2f} MB",
        "seconds": f"{one.seconds:.1f}",
        "energy": "not measured" if one.energy_j is None else f"{one.energy_j:.0f} J",
    }


def add_to(app: typer.Typer) -> None:
    """Add the commands to ``propius device``."""
    app.command(name="doctor")(examine)
    for command in (history, pause, resume, leave):
        app.command()(command)
