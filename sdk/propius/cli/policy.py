"""``propius policy …``: how devices are shared."""

from __future__ import annotations

import typer

from propius.cli import profile
from propius.cli.words import Output, OutputOption, explained, show_one

app = typer.Typer(help="How devices are shared among jobs.", no_args_is_help=True)


@app.callback()
def policy() -> None:
    """How devices are shared among jobs."""


@app.command()
@explained
def show(output: OutputOption = Output.TABLE) -> None:
    """Show the policy in force and its parameters."""
    with profile.client() as client:
        show_one(client.policy(), output)
