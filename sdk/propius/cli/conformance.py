"""``propius conformance``: does a client speak the device protocol?"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from propius.cli.words import explained

if TYPE_CHECKING:
    from propius.conformance.runner import Mode, Verdict


class Which(StrEnum):
    """Which mode to try."""

    SOCKET = "socket"
    ONCE = "once"
    BOTH = "both"


@explained
def conformance(
    client: Annotated[str, typer.Option(help="The command that starts the client under test.")],
    mode: Annotated[Which, typer.Option(help="Websocket, one-shot, or both.")] = Which.BOTH,
) -> None:
    """Try a client of the device protocol against a scripted gateway; status 1 if a case fails.

    docs/protocol.md says what the client finds in its environment, and what it must be able to do.
    """
    from propius.conformance import runner

    every: tuple[Mode, ...] = ("socket", "once")
    modes = tuple(one for one in every if mode in (Which.BOTH, one))
    verdicts = asyncio.run(runner.run_all(client, modes, _show))
    failed = [one for one in verdicts if one.fault]
    typer.echo(f"{len(verdicts) - len(failed)} of {len(verdicts)} cases passed")
    if failed:
        raise typer.Exit(1)


def _show(one: Verdict) -> None:
    typer.echo(f"{'FAIL' if one.fault else 'pass'}  {one.mode:6}  {one.case:20}  {one.says}")
    for line in one.fault.splitlines():
        typer.echo(f"      {line}")
