"""``propius policy …``: how devices are shared."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from propius.cli import profile
from propius.cli.words import Output, OutputOption, UsageError, explained, show_one, show_rows
from propius.operators import Operator

app = typer.Typer(help="How devices are shared among jobs.", no_args_is_help=True)
OF_TENANTS = ("finished", "mean_completion_s", "waiting_s", "device_s")


@app.callback()
def policy() -> None:
    """How devices are shared among jobs."""


@app.command()
@explained
def show(output: OutputOption = Output.TABLE) -> None:
    """Show the policy in force and its parameters."""
    with profile.client() as client:
        show_one(client.policy(), output)


@app.command()
@explained
def preview(
    operator: Annotated[
        str, typer.Option(envvar="PROPIUS_OPERATOR", help="Your name in the console.", prompt=True)
    ],
    password: Annotated[
        str, typer.Option(envvar="PROPIUS_OPERATOR_PASSWORD", prompt=True, hide_input=True)
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="POLICY", help="Else the one in force.")
    ] = None,
    parameters: Annotated[str, typer.Option(help='JSON, as {"max_wait_s": 300}.')] = "{}",
    shares: Annotated[
        str, typer.Option(help='JSON by tenant, as {"acme": {"weight": 2, "guarantee": 9}}.')
    ] = "{}",
    hours: Annotated[float, typer.Option(help="Back from now.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Of what the simulator draws.")] = 0,
    url: Annotated[str | None, typer.Option(help="The server; else the profile's.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """For operators: replay the last hours under another policy or other shares.

    Devices are taken to be alike and to stay for an hour: compare, do not predict.
    """
    proposal = {
        "policy": name, "hours": hours, "seed": seed,
        "parameters": _object("--parameters", parameters),
        "shares": _object("--shares", shares),
    }  # fmt: skip
    with Operator(url or profile.address(), operator, password) as me:
        found = me.preview(proposal)
    if output is Output.JSON:
        show_one(found, output)
    else:
        show_rows(_rows(found["present"], found["proposed"]), ["", "in force", "proposed"], output)


def _rows(present: dict[str, Any], proposed: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = [(name, present[name], proposed[name]) for name in present if name != "tenants"]
    for mine, theirs in zip(present["tenants"], proposed["tenants"], strict=True):
        pairs += [(f"{mine['tenant']}: {name}", mine[name], theirs[name]) for name in OF_TENANTS]
    return [{"": name, "in force": mine, "proposed": theirs} for name, mine, theirs in pairs]


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{option} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{option} {text!r}: a JSON object is allowed")
    return found
