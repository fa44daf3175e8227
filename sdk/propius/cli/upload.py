"""``propius upload …``: bring parameters and programs to the platform."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from propius.cli import profile
from propius.cli.words import UserError, explained

app = typer.Typer(help="Upload parameters and programs; prints the digest.", no_args_is_help=True)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    return path


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


@app.command()
@explained
def parameters(
    file: Annotated[Path, typer.Argument(help="A safetensors file.")],
) -> None:
    """Upload parameters; print their digest for the job file."""
    if _is_zip(_existing(file)):
        raise UserError(f"{file} is a program; upload it with: propius upload program {file}")
    with profile.client() as client:
        typer.echo(client.upload_parameters(file))


@app.command()
@explained
def program(
    file: Annotated[Path, typer.Argument(help="A program made by propius.program.export.")],
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the server's check.")] = 120,
) -> None:
    """Upload a program and wait until the server has checked it; print its digest."""
    with profile.client() as client:
        digest = str(client.upload_program(_existing(file))["digest"])
        client.wait_program(digest, timeout_s=timeout)
    typer.echo(digest)
