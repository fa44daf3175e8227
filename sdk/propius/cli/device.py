"""``propius device …``: let this machine join a pool and work."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
from pathlib import Path
from typing import Annotated

import typer

from propius.agent import attributes, control, datasets, device, enrolment
from propius.agent.agent import Agent, AgentOptions
from propius.agent.conditions import Conditions
from propius.agent.log_format import configure
from propius.agent.meter import SystemMeter
from propius.agent.oneshot import OneShot
from propius.agent.pool_trainer import PoolTrainer
from propius.cli import owner
from propius.cli.owner import HomeOption, home_of
from propius.cli.words import Output, OutputOption, UserError, explained, show_one
from propius.training.pool import TrainerPool

app = typer.Typer(help="Let this machine join a pool and work.", no_args_is_help=True)
owner.add_to(app)
COME_BACK = 75
"""Exit status of ``--once`` that asks to be started again later (EX_TEMPFAIL of sysexits.h)."""


@app.command()
@explained
def enrol(
    url: Annotated[str, typer.Option(help="The server, for example http://127.0.0.1:8000.")],
    token: Annotated[str, typer.Option(help="An enrolment token of the pool.")],
    home: HomeOption = None,
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    ca: Annotated[
        Path | None, typer.Option(help="Certificates (PEM) of the authority to trust, kept.")
    ] = None,
) -> None:
    """Join a pool: make a key on this device and register its public half."""
    if token.startswith("ppt_"):
        raise UserError("this is an API token, for propius login; a device wants ppe_…")
    folder = home_of(home)
    done = enrolment.enrol(url, token, folder, name=name, ca=ca)
    typer.echo(f"device {done.device} has joined pool {done.pool}; its folder is {folder.path}")
    start = "propius device run" + (f" --home {shlex.quote(str(folder.path))}" if home else "")
    write = "" if (folder / "datasets.toml").exists() else "write datasets.toml there, then "
    typer.echo(f"next: {write}start it: {start}")


@app.command()
@explained
def run(
    home: HomeOption = None,
    memory_mb: Annotated[
        int | None,
        typer.Option(min=64, help="Most that training may allocate; else as conditions.toml says."),
    ] = None,
    slowdown: Annotated[float, typer.Option(min=1.0, hidden=True)] = 1.0,
    once: Annotated[
        bool,
        typer.Option(
            "--once",
            help="At most one assignment, over plain HTTP; status 75 asks to come back later.",
        ),
    ] = False,
) -> None:
    """Serve until Ctrl-C. Says first what it will do, and for whom."""
    folder = home_of(home)
    one = device.load(folder.path)
    for line in one.words():
        typer.echo(f"  {line}")
    for name in one.datasets.names():
        if not one.datasets.source(name).exists():
            typer.echo(f"  warning: data set {name} has no file {one.datasets.source(name)}")
    if control.has_left(folder):
        raise UserError("this device has left its pool; enrol it again")
    configure("INFO")
    options = AgentOptions(
        slowdown=slowdown,
        cache_bytes=one.conditions.disk_mb << 20,
        meter=SystemMeter(folder.path),
    )
    memory_mb = memory_mb or one.conditions.memory_mb
    kind = OneShot if once else Agent
    ended = asyncio.run(_run(kind, folder.path, memory_mb, options, one.conditions))
    if isinstance(ended, OneShot):
        typer.echo(ended.outcome.words())
        raise typer.Exit(COME_BACK if ended.outcome.retry_after_s else 0)


async def _run(
    kind: type[Agent], home: Path, memory_mb: int, options: AgentOptions, asked: Conditions
) -> Agent:
    async with TrainerPool(
        1,
        memory_mb,
        nice=asked.nice,
        threads=asked.cores,
        # The owner's handlers live beside handlers.toml.
        import_paths=[str(home.resolve())],
    ) as pool:
        agent = kind(home=home, trainer=PoolTrainer(pool), options=options)
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        for one in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(one, stopping.set)
        serving = asyncio.create_task(agent.run())
        serving.add_done_callback(lambda _: stopping.set())
        await stopping.wait()
        await agent.stop()
        await serving
    return agent


@app.command()
@explained
def status(home: HomeOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show the device's enrolment, attributes, data sets, consents and waiting updates."""
    folder = home_of(home)
    one = device.load(folder.path)
    told = attributes.collect(folder, one.enrolment.attributes_schema)
    waiting = len(list((folder / "spool").glob("*.json")))
    if output is Output.JSON:
        found = {
            "device": one.enrolment.device,
            "pool": one.enrolment.pool,
            "gateway": one.enrolment.gateway,
            "attributes": told,
            "workloads": one.workloads.offered(),
            "datasets": one.datasets.names(),
            "waiting_updates": waiting,
        }
        show_one(found, output)
        return
    for line in one.words():
        typer.echo(line)
    asyncio.run(one.datasets.refresh())
    for name in one.datasets.names():
        typer.echo(_private_words(one.datasets, name))
    typer.echo("it tells: " + ", ".join(f"{key} {value}" for key, value in sorted(told.items())))
    typer.echo(f"updates that wait to be sent: {waiting}")


def _private_words(sets: datasets.Datasets, name: str) -> str:
    try:
        found = sets.private_attributes(name)
    except datasets.DatasetError as error:
        return f"warning: {error}"
    return f"{name} (private): " + ", ".join(f"{key} {value}" for key, value in found.items())
