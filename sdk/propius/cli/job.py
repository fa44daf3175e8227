"""``propius job …``: submit jobs, look at them, fetch their models."""

from __future__ import annotations

import json
import re
import time
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from propius import spec
from propius.cli import profile
from propius.cli.words import Output, OutputOption, UserError, explained, show_one, show_rows
from propius.client import Client

app = typer.Typer(help="Submit jobs, look at them, fetch their models.", no_args_is_help=True)


def _job_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F-]+", text):
        raise typer.BadParameter(f"{text!r} is no job id; `propius job list` shows the ids")
    return text


JobArgument = Annotated[str, typer.Argument(help="The job's id.", callback=_job_id)]
ROUND_COLUMNS = ["number", "attempt", "kind", "status", "outcome", "reported", "demand", "metrics"]
LIST_COLUMNS = ["id", "name", "status", "outcome", "version", "waiting"]


def read_file(path: Path) -> dict[str, Any]:
    """Read a job file, TOML or JSON. Raises :class:`UserError` if it is neither."""
    try:
        text = path.read_text()
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise UserError(f"{path} is no {kind}: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path} holds a {type(raw).__name__}; a job file is one object")
    return raw


@app.command()
@explained
def submit(
    file: Annotated[Path, typer.Argument(help="The job file, TOML or JSON.")],
    wait: Annotated[bool, typer.Option("--wait", help="Watch it until it has finished.")] = False,
    key: Annotated[
        str, typer.Option("--idempotency-key", help="The same key gives the same job again.")
    ] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a job file here, then submit it."""
    raw = read_file(file)
    spec.parse(raw)
    with profile.client() as client:
        found = client.submit_job(raw, idempotency_key=key or None)
        if wait:
            if output is Output.TABLE:
                typer.echo(f"job {found['id']}: {client.url}/jobs/{found['id']}/")
                typer.echo("Ctrl-C ends the watching, not the job: propius job cancel does that")
            found = _watched(client, found["id"], quiet=output is Output.JSON)
    _show_end(found, output)
    if found.get("outcome") in ("rejected", "failed") or (wait and not _completed(found)):
        raise typer.Exit(1)


@app.command("list")
@explained
def list_jobs(
    status: Annotated[str, typer.Option(help="Only jobs of this state or outcome.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the tenant's jobs, newest first."""
    with profile.client() as client:
        rows = client.jobs(status=status) if status else client.jobs()
        show_rows(rows, LIST_COLUMNS, output)


@app.command()
@explained
def show(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """Show a job: where it stands and what it waits for."""
    with profile.client() as client:
        show_one(client.job(job), output, without=["spec"])


@app.command()
@explained
def watch(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """Print each round as it ends, until the job has finished."""
    with profile.client() as client:
        found = _watched(client, job, quiet=output is Output.JSON)
    _show_end(found, output)
    if not _completed(found):
        raise typer.Exit(1)


@app.command()
@explained
def rounds(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """List a job's rounds."""
    with profile.client() as client:
        show_rows(client.rounds(job), ROUND_COLUMNS, output)


@app.command()
@explained
def cancel(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """Cancel a job; its kept model versions stay."""
    with profile.client() as client:
        show_one(client.cancel(job), output, without=["spec"])


@app.command()
@explained
def download(
    job: JobArgument,
    path: Annotated[Path, typer.Argument(help="Where to save the model, as safetensors.")],
    version: Annotated[str, typer.Option(help="Number of a model version, or latest.")] = "latest",
) -> None:
    """Save a model version of a job."""
    if version != "latest" and not version.isdecimal():
        raise UserError(f"--version {version} is no number; give one, or latest")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}")
    with profile.client() as client:
        saved = client.download(job, "latest" if version == "latest" else int(version), path)
    typer.echo(f"saved {saved} ({saved.stat().st_size} bytes)")


def _show_end(job: dict[str, Any], output: Output) -> None:
    show_one(job, output, without=["spec"])
    if output is Output.TABLE and _completed(job):
        typer.echo(f"its model: propius job download {job['id']} model.safetensors")


def _completed(job: dict[str, Any]) -> bool:
    return bool(job.get("outcome") == "completed")


def _watched(client: Client, job: str, *, quiet: bool, every_s: float = 1.0) -> dict[str, Any]:
    """Print each finished round, and each reason to wait that lasts; return the finished job."""
    told: set[str] = set()
    seen = waiting = ""
    while True:
        found = client.job(job)
        if not quiet:
            for one in sorted(client.rounds(job), key=lambda one: str(one["opened_at"])):
                if one["status"] == "finished" and one["id"] not in told:
                    told.add(one["id"])
                    typer.echo(_line(one))
            now = str((found.get("waiting") or {}).get("message", ""))
            if now and now != waiting and now == seen:
                typer.echo(f"  {now}")
                waiting = now
            seen = now
        if found["status"] == "finished":
            return found
        time.sleep(every_s)


def _line(one: dict[str, Any]) -> str:
    metrics = one.get("metrics") or {}
    shown = " ".join(
        f"{name} {value:.4g}" for name, value in metrics.items() if isinstance(value, float | int)
    )
    return (
        f"round {one['number']} {one['kind']} {one.get('outcome') or one['status']}: "
        f"{one['reported']} of {one['demand']} reported {shown}"
    )
