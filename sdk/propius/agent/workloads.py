"""What this device can run: programs if torch is there, and the handlers its owner registered.

``handlers.toml`` in the device's folder::

    [logistic]
    train = "my_package.handlers:train"
    evaluate = "my_package.handlers:evaluate"

    [age-histogram]
    query = "my_package.handlers:ages"

``propius device register my_package.handlers:app`` writes it for a :class:`propius.App`.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated

import msgspec

from propius import wire
from propius.agent import owner_files

WITH_CONTROL = "1+control"
PROGRAM_FORMATS = ["1", "1+frozen", WITH_CONTROL]
Reference = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*(?!\n)$")]


class Handler(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Import references ``module:function`` of one handler, by the kind of work."""

    train: Reference | None = None
    evaluate: Reference | None = None
    query: Reference | None = None


class Workloads:
    """The kinds of work that this device can do."""

    def __init__(self, handlers: dict[str, Handler], *, programs: bool) -> None:
        self.handlers = handlers
        self.programs = programs

    def offered(self) -> dict[str, list[str]]:
        """Return what hello says: program formats and handler names."""
        offered: dict[str, list[str]] = {}
        if self.programs:
            offered["program"] = list(PROGRAM_FORMATS)
        trained = sorted(name for name, one in self.handlers.items() if one.train or one.evaluate)
        queried = sorted(name for name, one in self.handlers.items() if one.query)
        if trained:
            offered["handler"] = trained
        if queried:
            offered["query"] = queried
        return offered

    def handler(self, name: str, kind: str) -> str | None:
        """Return the import reference of a handler for ``train``, ``evaluate`` or ``query``."""
        found = self.handlers.get(name)
        return None if found is None else getattr(found, kind, None)

    def handler_of(self, asked: wire.Assignment | wire.Candidate) -> str | None:
        """Return the import reference of what runs this here; ``None`` for a program too."""
        return self.handler(str(asked.workload.get("handler")), action_of(asked))


def action_of(asked: wire.Assignment | wire.Candidate) -> str:
    """Return ``train``, ``evaluate`` or ``query``: rounds of a query are of kind ``train``."""
    return "query" if asked.workload.get("kind") == "query" else asked.kind


def torch_is_installed() -> bool:
    """Tell whether programs could run, without importing torch."""
    return importlib.util.find_spec("torch") is not None


def check_name(path: Path, name: str) -> None:
    """Raise :class:`owner_files.OwnerFileError` if this can be no handler's name."""
    if not re.fullmatch(r"[\w][\w.:-]{0,99}", name):
        raise owner_files.OwnerFileError(
            f"{path}: {name!r} is no handler name; letters, digits and . : _ - are allowed"
        )


def load(path: Path, *, programs: bool = True) -> Workloads:
    """Read the handler file. Raises :class:`owner_files.OwnerFileError`."""
    nothing: dict[str, Handler] = {}
    handlers = owner_files.read(path, dict[str, Handler], missing=nothing)
    for name in handlers:
        check_name(path, name)
        if handlers[name] == Handler():
            raise owner_files.OwnerFileError(
                f"{path}: {name!r} names no function; one of train, evaluate, query is needed"
            )
    return Workloads(handlers, programs=programs and torch_is_installed())
