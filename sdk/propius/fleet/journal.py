"""Which virtual device did which assignment: what ``propius job rerun`` needs beside a manifest.

A file of JSON lines. The first says what the fleet is made of, each further one names an
assignment whose work was done, the device by its number, and the digest of its update.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TextIO

import msgspec

from propius import __version__
from propius.fleet.compute import ComputeName

SCHEMA = 1


class JournalError(ValueError):
    """A file that is no journal; the text says where."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet: what its devices, their data and their work follow from."""

    schema: int
    seed: int
    compute: ComputeName
    data: str | None
    data_digest: str | None
    handlers: str | None
    made_with: dict[str, str]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One assignment that was done; of an evaluation there is no update."""

    assignment: str
    device: int
    update: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """What a file says."""

    made: Made
    done: dict[str, Line]


class Keeper:
    """Writes a journal while the fleet runs."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file

    def done(self, assignment: str, device: int, update: str) -> None:
        """Note an assignment."""
        self.write(Line(assignment=assignment, device=device, update=update))

    def write(self, line: Made | Line) -> None:
        """Write a line at once: the fleet may be killed."""
        if self._file is not None:
            self._file.write(msgspec.json.encode(line).decode() + "\n")
            self._file.flush()


@contextmanager
def kept(
    path: Path | None, *, seed: int, compute: ComputeName, data: Path | None, handlers: Path | None
) -> Iterator[Keeper]:
    """Begin a journal, if one is wanted."""
    if path is None:
        yield Keeper()
        return
    made = Made(
        schema=SCHEMA,
        seed=seed,
        compute=compute,
        data=str(data.resolve()) if data else None,
        data_digest=digest_of(data) if data else None,
        handlers=str(handlers.resolve()) if handlers else None,
        made_with=made_with(),
    )
    with path.open("w", encoding="utf-8") as file:
        keeper = Keeper(file)
        keeper.write(made)
        yield keeper


def read(path: Path) -> Journal:
    """Read a journal; a last line that was cut off is passed over.

    Raises
    ------
    JournalError
        It is none.
    OSError
        It cannot be read.
    """
    complete = path.read_bytes().split(b"\n")[:-1]  # what follows the last newline was cut off
    try:
        made = msgspec.json.decode(complete[0] if complete else b"", type=Made)
        done = [msgspec.json.decode(one, type=Line) for one in complete[1:]]
    except msgspec.MsgspecError as error:
        raise JournalError(f"{path} is no journal of a fleet: {error}") from error
    if made.schema != SCHEMA:
        raise JournalError(f"{path} has schema {made.schema}; {SCHEMA} is what is known here")
    return Journal(made, {one.assignment: one for one in done})


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def made_with() -> dict[str, str]:
    """Return the releases that updates are made with: other ones may round otherwise."""
    found = {
        "sdk": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    for name in ("numpy", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # a fleet of handlers needs no torch
    return found
