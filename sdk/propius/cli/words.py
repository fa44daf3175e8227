"""What the commands print: results as tables or JSON, errors in words."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from propius.agent.connection import AgentStopped
from propius.agent.identity import IdentityError
from propius.agent.owner_files import OwnerFileError
from propius.http_errors import ApiError
from propius.spec import SpecError

if TYPE_CHECKING:  # few commands need them, and a device that idles for months none
    from rich.console import Console

    from propius.agent.doctor import Finding

P = ParamSpec("P")
R = TypeVar("R")


UNUSABLE = ("bad_url", "bad_token", "unreachable", "not_propius")


class UserError(Exception):
    """Something that the user can mend; the text says how."""

    status = 1


class UsageError(UserError):
    """The call itself has to change: its files, the server's address, the token."""

    status = 2


class Output(StrEnum):
    """How to print a result."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Print a table or JSON.")]


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: what its user can mend is said in words, with a status other than 0.

    That is 2 where the call itself has to change, and else 1; see ``docs/cli.md``.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SpecError as error:
            lines = [f"  {field or 'job'}: {text}" for field, text in error.errors.items()]
            _fail("the job file has faults:\n" + "\n".join(lines), UsageError.status)
        except ApiError as error:
            wrong = error.code in UNUSABLE or error.status == 401
            again = "; sign in again: propius login --url URL --token TOKEN"
            expired = error.status == 401 and error.code == "bad_token"
            text = f"{error}{again if expired else ''}"
            _fail(text, UsageError.status if wrong else UserError.status)
        except UserError as error:
            _fail(str(error), error.status)
        except (IdentityError, OwnerFileError, AgentStopped) as error:
            _fail(str(error))
        except BrokenPipeError:  # the reader, such as head, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except OSError as error:
            _fail(f"{error.filename or 'system'}: {error.strerror or error}")
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        raise AssertionError("unreachable")

    return wrapped


def _fail(text: str, status: int = 1) -> None:
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(status)


def show_rows(rows: Iterable[Mapping[str, Any]], columns: list[str], output: Output) -> None:
    """Print a list: the columns as a table, or everything as JSON."""
    if output is Output.JSON:
        _print_json(list(rows))
        return
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    _console().print(table)


def show_one(row: Mapping[str, Any], output: Output, *, without: Iterable[str] = ()) -> None:
    """Print one object: a line for each field, or JSON."""
    if output is Output.JSON:
        _print_json(row)
        return
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in row.items():
        if name not in set(without):
            table.add_row(name, _cell(value))
    _console().print(table)


def show_findings(findings: list[Finding], output: Output) -> None:
    """Print what checks found, a fix below each fault; the status is 1 if one failed."""
    if output is Output.JSON:
        show_rows([asdict(one) for one in findings], [], output)
    else:
        for one in findings:
            typer.echo(f"{'ok   ' if one.ok else 'FAULT'} {one.name}: {one.found}")
            if one.fix:
                typer.echo(f"      to mend it: {one.fix}")
    if not all(one.ok for one in findings):
        raise typer.Exit(1)


def _console() -> Console:
    from rich.console import Console

    # Not cut to 80 columns when another program reads it.
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=plain))


def plain(value: Any) -> Any:
    """Return what JSON has no form for as something that it has: for ``json.dumps``."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        if "message" in value:
            return str(value["message"])
        return ", ".join(f"{name} {_cell(one)}" for name, one in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or "-"
    return str(value)
