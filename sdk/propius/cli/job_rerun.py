"""``propius job rerun``: a simulated job once more, from its manifest."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from propius import manifest as manifests
from propius.cli.job_files import named
from propius.cli.words import Output, OutputOption, UsageError, explained, show_one
from propius.manifest import Manifest


@explained
def rerun(
    manifest: Annotated[Path, typer.Argument(help="A manifest of propius job export.")],
    journal: Annotated[
        Path | None,
        typer.Option(help="Of the fleet; journal.jsonl beside the manifest by default."),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(help="Folder of parameters and program; the manifest's by default."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The fleet's data; where it was by default.")
    ] = None,
    handlers: Annotated[
        Path | None, typer.Option(help="The fleet's handlers.toml; where it was by default.")
    ] = None,
    platform: Annotated[
        Path, typer.Option(help="A checkout of the platform, whose code folds the updates.")
    ] = Path(),
    output: OutputOption = Output.TABLE,
) -> None:
    """Train and fold a simulated job again; say of each round whether it gives the same bits.

    Ends with status 0 if every version is the same, 1 at the first that is not.
    """
    found = _read(manifest)
    folder = files or manifest.parent
    beside = journal or manifest.parent / "journal.jsonl"
    shown = asyncio.run(_run(found, beside, folder, platform, data, handlers, output))
    same = all(one["same"] for one in shown)
    if output is Output.JSON:
        show_one({"job": found.job, "same": same, "rounds": shown}, output)
    if not same:
        raise typer.Exit(1)


async def _run(
    found: Manifest,
    beside: Path,
    folder: Path,
    platform: Path,
    data: Path | None,
    handlers: Path | None,
    output: Output,
) -> list[dict[str, Any]]:
    from propius import rerun as again
    from propius.fleet import journal as journals

    if not beside.is_file():
        raise UsageError(
            f"there is no file {beside}: a rerun needs the journal of the fleet, written by "
            "propius fleet simulate --journal FILE; a job of real devices cannot be run again"
        )
    shown = []
    try:
        paths = again.Files(
            *(
                named(folder, blob.digest, name) if blob else None  # type: ignore[arg-type]
                for name, blob in (
                    ("parameters", found.parameters),
                    ("workload.program", found.program),
                    ("frozen", found.frozen),
                )
            )
        )
        async for one in again.run(
            found, journals.read(beside), paths, platform=platform, data=data, handlers=handlers
        ):
            shown.append(asdict(one))
            if output is Output.TABLE:
                words = "same bits" if one.same else f"differs: {one.detail}"
                typer.echo(f"round {one.number}: {words}")
    except (again.CannotRerun, again.BadFleet, journals.JournalError) as error:
        raise UsageError(str(error)) from error
    return shown


def _read(path: Path) -> Manifest:
    try:
        return manifests.decode(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}; propius job export writes it") from error
    except msgspec.MsgspecError as error:
        raise UsageError(f"{path} is no manifest of a job: {error}") from error
