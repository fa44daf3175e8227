"""What this device can run: programs if torch is there, and the handlers its owner registered.

``handlers.toml`` in the device's folder::

    [logistic]
    train = "my_package.handlers:train"
    evaluate = "my_package.handlers:evaluate"
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated

import msgspec

from propius.agent import owner_files

PROGRAM_FORMATS = ["1"]
Reference = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*(?!\n)$")]


class Handler(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Import references ``module:function`` of one handler."""

    train: Reference
    evaluate: Reference | None = None


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
        if self.handlers:
            offered["handler"] = sorted(self.handlers)
        return offered

    def handler(self, name: str, kind: str) -> str | None:
        """Return the import reference for a handler's round of this kind."""
        found = self.handlers.get(name)
        if found is None:
            return None
        return found.train if kind == "train" else found.evaluate


def torch_is_installed() -> bool:
    """Tell whether programs could run, without importing torch."""
    return importlib.util.find_spec("torch") is not None


def load(path: Path, *, programs: bool = True) -> Workloads:
    """Read the handler file. Raises :class:`owner_files.OwnerFileError`."""
    nothing: dict[str, Handler] = {}
    handlers = owner_files.read(path, dict[str, Handler], missing=nothing)
    for name in handlers:
        if not re.fullmatch(r"[\w][\w.:-]{0,99}", name):
            raise owner_files.OwnerFileError(
                f"{path}: {name!r} is no handler name; letters, digits and . : _ - are allowed"
            )
    return Workloads(handlers, programs=programs and torch_is_installed())
