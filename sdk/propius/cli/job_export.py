"""``propius job export``: what is needed to account for a job, as files."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from propius import manifest as manifests
from propius import spreadsheet
from propius.calls import MANY
from propius.cli import profile
from propius.cli.job_ids import JobArgument
from propius.cli.words import Output, OutputOption, UsageError, explained, show_one
from propius.resources import Job, Round, columns, curve

Table = dict[str, list[Any]]
ROUND_COLUMNS = (
    "id", "number", "attempt", "kind", "status", "outcome", "demand", "target", "assigned",
    "reported", "lost", "base_version", "opened_at", "closed_at", "finished_at",
)  # fmt: skip


@explained
def export(
    job: JobArgument,
    to: Annotated[Path, typer.Option("--to", help="A folder; it is made if need be.")],
    models: Annotated[
        bool, typer.Option("--models", help="Also the model versions that are kept.")
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write a job's manifest, its rounds, metrics and events, and if asked its models.

    The curve is what the model is judged by: evaluation rounds if there are any, else training.
    Tables are CSV, and Parquet too where pyarrow is installed.
    """
    if to.exists() and not to.is_dir():
        raise UsageError(f"{to} is a file; --to wants a folder")
    to.mkdir(parents=True, exist_ok=True)
    with profile.client(retries=MANY) as client:
        found = client.job(job)
        rounds = sorted(found.rounds(), key=lambda one: (one.number, one.attempt, one.kind))
        written = [_write_manifest(to / "manifest.json", found)]
        written.append(_write_events(to / "events.jsonl", found))
        tables = {
            "rounds": _rounds(rounds),
            "metrics": _metrics(rounds),
            "curve": columns(curve(rounds)),
        }
        for name, table in tables.items():
            written += _write_table(to / name, table)
        if models:
            for version in found.versions():
                path = to / f"version-{version.number}.safetensors"
                written.append(client.download(job, version.number, path))
    if output is Output.JSON:
        show_one({"files": [str(one) for one in written]}, output)
    else:
        for one in written:
            typer.echo(f"wrote {one} ({one.stat().st_size} bytes)")


def _rounds(rounds: list[Round]) -> Table:
    return {name: [one.get(name) for one in rounds] for name in ROUND_COLUMNS}


def _metrics(rounds: list[Round]) -> Table:
    """Return one row for each metric of each round, which needs no column for each name."""
    rows = [
        (one.id, one.number, one.attempt, one.kind, name, float(value))
        for one in rounds
        for name, value in (one.metrics or {}).items()
        if isinstance(value, float | int)
    ]
    names = ("round", "number", "attempt", "kind", "metric", "value")
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def _write_manifest(path: Path, job: Job) -> Path:
    path.write_bytes(manifests.encode(job.manifest()))
    return path


def _write_events(path: Path, job: Job) -> Path:
    with path.open("w") as file:
        for one in job.events(follow=False):
            told = {"id": one.id, "kind": one.kind, "at": one.at.isoformat(), "round": one.round}
            about = {"assignment": one.assignment, "device": one.device, "data": one.data}
            file.write(json.dumps(told | about) + "\n")
    return path


def _write_table(path: Path, table: Table) -> list[Path]:
    plain = path.with_suffix(".csv")
    with plain.open("w", newline="") as file:
        writer = csv.writer(file)
        for row in (table, *zip(*table.values(), strict=True)):
            writer.writerow([spreadsheet.plain(one) for one in row])
    try:
        arrow, parquet = (importlib.import_module(f"pyarrow{one}") for one in ("", ".parquet"))
    except ImportError:
        return [plain]
    dense = path.with_suffix(".parquet")
    parquet.write_table(arrow.table(table), dense)
    return [plain, dense]
