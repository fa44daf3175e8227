"""``propius try``: train a job on this machine, without a server, through the same code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from propius.cli.words import Output, OutputOption, explained


@explained
def try_(
    file: Annotated[Path, typer.Argument(help="The job file, TOML or JSON.")],
    data: Annotated[
        Path, typer.Option(help="datasets.toml, its folder, a folder of NAME.npz, or an npz.")
    ],
    devices: Annotated[int, typer.Option(min=1, max=1000, help="How many to deal it to.")] = 8,
    split: Annotated[str, typer.Option(help="iid, or dirichlet:0.5.")] = "iid",
    rounds: Annotated[int, typer.Option(min=0, help="Fewer than the job's; 0 for all.")] = 0,
    app: Annotated[str, typer.Option(help="module:name of the propius.App of a handler.")] = "",
    save: Annotated[Path, typer.Option(help="Where to save the model.")] = Path(
        "model.safetensors"
    ),
    memory_mb: Annotated[int, typer.Option(min=64, help="Most that training may allocate.")] = 2048,
    output: OutputOption = Output.TABLE,
) -> None:
    """Train a job here, on data dealt to pretended devices, before it is submitted."""
    # An idle device runs this program too, and need not hold numpy and the trainer.
    from propius.cli import trying

    trying.run(
        file, data, devices=devices, split=split, rounds=rounds, app=app, save=save,
        memory_mb=memory_mb, output=output,
    )  # fmt: skip
