"""``propius job …``: submit jobs, look at them, steer them, fetch their models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from propius import spec
from propius.calls import MANY
from propius.cli import following, job_export, job_init, job_rerun, profile
from propius.cli.job_files import read_and_upload, read_file
from propius.cli.job_ids import JobArgument
from propius.cli.words import Output, OutputOption, UsageError, explained, show_one, show_rows

app = typer.Typer(help="Submit jobs, steer them, fetch their models.", no_args_is_help=True)
ROUND_COLUMNS = ["number", "attempt", "kind", "status", "outcome", "reported", "demand", "metrics"]
VERSION_COLUMNS = ["number", "digest", "size_bytes", "reports", "pinned", "metrics", "evaluation"]
LIST_COLUMNS = ["id", "name", "status", "outcome", "version", "waiting"]
KeyOption = Annotated[
    str, typer.Option("--idempotency-key", help="The same key gives the same job again.")
]


app.command("init")(job_init.init)


@app.command()
@explained
def submit(
    file: Annotated[Path, typer.Argument(help="The job file, TOML or JSON.")],
    wait: Annotated[bool, typer.Option("--wait", help="Watch it until it has finished.")] = False,
    timeout: following.TimeoutOption = None,
    key: KeyOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Check a job file here, upload the files that it names, then submit it."""
    spec.parse(read_file(file))
    with profile.client(retries=MANY if wait else 2) as client:
        found = client.submit_job(read_and_upload(file, client), idempotency_key=key or None)
        if wait:
            if output is Output.TABLE:
                typer.echo(f"job {found.id}: {client.url}/jobs/{found.id}/")
                typer.echo("Ctrl-C ends the watching, not the job: propius job cancel does that")
            found = following.watched(client, found.id, output, timeout)
    if wait or found.finished:
        following.end(found, output)
    show_one(found, output, without=["spec"])


@app.command("list")
@explained
def list_jobs(
    status: Annotated[str, typer.Option(help="Only jobs of this state or outcome.")] = "",
    name: Annotated[str, typer.Option(help="Only jobs with this in their name.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the tenant's jobs, newest first."""
    filters = {key: value for key, value in (("status", status), ("name", name)) if value}
    with profile.client() as client:
        show_rows(client.jobs(**filters), LIST_COLUMNS, output)


@app.command()
@explained
def show(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """Show a job: where it stands and what it waits for."""
    with profile.client() as client:
        show_one(client.job(job), output, without=["spec"])


app.command()(following.wait)
app.command()(following.watch)
app.command()(following.logs)


@app.command()
@explained
def rounds(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """List a job's rounds."""
    with profile.client() as client:
        show_rows(client.rounds(job), ROUND_COLUMNS, output)


@app.command()
@explained
def versions(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """List the model versions of a job that are kept."""
    with profile.client() as client:
        show_rows(client.versions(job), VERSION_COLUMNS, output)


@app.command()
@explained
def cancel(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """Cancel a job; its kept model versions stay."""
    with profile.client() as client:
        show_one(client.cancel(job), output, without=["spec"])


@app.command()
@explained
def pause(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """Let a job bind no more devices; those at work may report."""
    with profile.client() as client:
        show_one(client.pause(job), output, without=["spec"])


@app.command()
@explained
def resume(job: JobArgument, output: OutputOption = Output.TABLE) -> None:
    """Let a paused job go on."""
    with profile.client() as client:
        show_one(client.resume(job), output, without=["spec"])


@app.command()
@explained
def clone(
    job: JobArgument,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="FIELD=VALUE of the job file's top level, the value as JSON."),
    ] = None,
    key: KeyOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Submit a job's file again as a new job, with changes."""
    changes = dict(_change(one) for one in change or ())
    with profile.client() as client:
        show_one(client.clone(job, changes, idempotency_key=key or None), output, without=["spec"])


@app.command()
@explained
def download(
    job: JobArgument,
    path: Annotated[Path, typer.Argument(help="Where to save the model, as safetensors.")],
    version: Annotated[str, typer.Option(help="Number of a model version, or latest.")] = "latest",
    output: OutputOption = Output.TABLE,
) -> None:
    """Save a model version of a job."""
    if version != "latest" and not version.isdecimal():
        raise UsageError(f"--version {version} is no number; give one, or latest")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}")
    with profile.client() as client:
        saved = client.download(job, "latest" if version == "latest" else int(version), path)
    if output is Output.JSON:
        show_one({"path": str(saved), "size_bytes": saved.stat().st_size}, output)
    else:
        typer.echo(f"saved {saved} ({saved.stat().st_size} bytes)")


app.command()(job_export.export)
app.command()(job_rerun.rerun)


def _change(text: str) -> tuple[str, Any]:
    field, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text} has no =; give FIELD=VALUE, as in --set priority=3")
    try:
        return field, json.loads(value)
    except ValueError:
        return field, value
