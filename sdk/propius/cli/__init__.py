"""The command line: ``propius login | doctor | job … | upload … | device … | fleet …``."""

from __future__ import annotations

from typing import Annotated

import typer

from propius import __version__
from propius.cli import (
    conformance,
    device,
    doctor,
    fleet,
    job,
    policy,
    profile,
    register,
    trial,
    upload,
)
from propius.cli.words import UsageError, explained
from propius.client import Client
from propius.http_errors import ApiError

app = typer.Typer(
    name="propius",
    help="Train models together with a fleet of devices: submit jobs, or be a device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
device.app.command()(register.register)
app.command("try")(trial.try_)
app.add_typer(device.app, name="device")
app.add_typer(fleet.app, name="fleet")
app.command()(conformance.conformance)
app.command()(doctor.doctor)
app.add_typer(job.app, name="job")
app.add_typer(policy.app, name="policy")
app.add_typer(upload.app, name="upload")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"propius {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    named: Annotated[
        str,
        typer.Option("--profile", envvar="PROPIUS_PROFILE", help="Which login to use, by name."),
    ] = profile.DEFAULT,
) -> None:
    """Train models together with a fleet of devices: submit jobs, or be a device."""
    profile.CHOSEN.set(named)


@app.command()
@explained
def login(
    url: Annotated[str, typer.Option(help="The server, for example http://127.0.0.1:8000.")],
    token: Annotated[
        str, typer.Option(help="An API token of your tenant.", prompt=True, hide_input=True)
    ],
) -> None:
    """Remember the server and the token for the other commands, after trying them."""
    if token.startswith("ppe_"):
        raise UsageError(
            "this is an enrolment token, for devices; login wants an API token (ppt_…)"
        )
    with Client(url, token, retries=0) as client:
        try:
            tenant = f" for tenant {client.me().tenant}"
        except ApiError as error:
            if error.status != 403:
                raise
            tenant = ""  # A good token that may do other things, but not this.
    path = profile.save(profile.CHOSEN.get(), url, token)
    typer.echo(f"signed in to {url}{tenant}; kept in {path} as profile {profile.CHOSEN.get()}")
