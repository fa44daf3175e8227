"""``propius fleet …``: a whole fleet of virtual devices, to try a platform with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from propius.cli.words import UserError, explained

app = typer.Typer(help="Run virtual devices against a platform.", no_args_is_help=True)


class Trace(StrEnum):
    """When devices are there."""

    ALWAYS = "always"
    DIURNAL = "diurnal"


class Compute(StrEnum):
    """What stands in for training."""

    REAL = "real"
    SLEEP = "sleep"
    NONE = "none"


@app.command()
@explained
def simulate(
    url: Annotated[str, typer.Option(help="The server, for example http://127.0.0.1:8000.")],
    token: Annotated[str, typer.Option(help="An enrolment token of a pool for such devices.")],
    devices: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
    trace: Annotated[Trace, typer.Option(help="When they are there.")] = Trace.ALWAYS,
    compute: Annotated[
        Compute,
        typer.Option(help="Train, take the time that training would, or answer at once."),
    ] = Compute.SLEEP,
    seed: Annotated[int, typer.Option(help="The same seed makes the same devices.")] = 0,
    speed_up: Annotated[
        float, typer.Option(min=0.001, help="How much faster days, training and links go by.")
    ] = 1.0,
    start: Annotated[float, typer.Option(min=0, max=24, help="Hour at which the day begins.")] = 12,
    seconds: Annotated[float, typer.Option(min=0, help="How long to run; 0: until Ctrl-C.")] = 0,
    per_s: Annotated[float, typer.Option(min=0.1, help="Devices that come in a second.")] = 100,
    dropout: Annotated[
        float, typer.Option(min=0, max=1, help="Chance to vanish in the midst of work.")
    ] = 0.0,
    passes: Annotated[float, typer.Option(min=0, help="Passes over the data, for sleep.")] = 1.0,
    handler: Annotated[
        list[str] | None, typer.Option(help="A handler that they say they have; may be repeated.")
    ] = None,
    handlers: Annotated[Path | None, typer.Option(help="handlers.toml, for real.")] = None,
    data: Annotated[Path | None, typer.Option(help="An npz to share out, for real.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the report here, as JSON.")] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Note here who did what, for propius job rerun.")
    ] = None,
) -> None:
    """Run a fleet; says every few seconds how it goes, and at the end what it saw."""
    from propius.fleet import simulation

    options = simulation.Options(
        url=url, token=token, devices=devices, seed=seed, trace=trace.value,
        compute=compute.value, passes=passes, speed_up=speed_up, start_s=start * 3600,
        seconds=seconds, per_s=per_s, dropout=dropout, data=data, handlers=handlers,
        handler_names=tuple(handler or ()), journal=journal,
    )  # fmt: skip
    try:
        report = asyncio.run(_run(options))
    except simulation.BadFleet as error:
        raise UserError(str(error)) from error
    text = json.dumps(report, indent=2)
    if save is not None:
        save.write_text(text + "\n")
        typer.echo(f"the report is in {save}")
    else:
        typer.echo(text)


async def _run(options: Any) -> dict[str, Any]:
    from propius.fleet import simulation

    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(one, stopping.set)
    return await simulation.run(
        options, say=lambda line: typer.echo(line, err=True), stopping=stopping
    )
