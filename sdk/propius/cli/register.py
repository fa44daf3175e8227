"""``propius device register``: let an app's functions do jobs' work on this device."""

from __future__ import annotations

import importlib
import sys
import tomllib
from typing import TYPE_CHECKING, Annotated

import typer

from propius.agent import workloads
from propius.agent.identity import write_private
from propius.cli import toml_tables
from propius.cli.owner import HomeOption, home_of
from propius.cli.words import UserError, explained

if TYPE_CHECKING:
    from propius.app import App


@explained
def register(
    app: Annotated[str, typer.Argument(help="module:name of a propius.App beside handlers.toml.")],
    home: HomeOption = None,
) -> None:
    """Write an app's functions into handlers.toml; what is there under other names stays."""
    folder = home_of(home)
    found = _imported(app, str(folder.path)).references()
    path = folder / "handlers.toml"
    for name in found:
        workloads.check_name(path, name)
    kept = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    folder.prepare()
    write_private(path, toml_tables.encode({**kept, **found}))
    workloads.load(path)
    for name, functions in found.items():
        typer.echo(f"registered {name}: {', '.join(functions)}")


def _imported(reference: str, folder: str) -> App:
    # Here, not above: the idle agent of `device run` carries no numpy.
    from propius.app import App

    module, _, name = reference.partition(":")
    # As in the trainer's child: the owner's handlers live beside handlers.toml.
    sys.path.insert(0, folder)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{reference!r} cannot be imported ({error}); give module:name") from error
    finally:
        sys.path.remove(folder)
    if not isinstance(found, App):
        raise UserError(f"{reference!r} is a {type(found).__name__}; a propius.App is needed")
    if not found.functions:
        raise UserError(f"{reference!r} has no functions; decorate some with @app.train(name)")
    return found
