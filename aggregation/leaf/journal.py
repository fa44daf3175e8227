"""What a leaf has on its disk of updates, in files that outlive it."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

import msgspec

from aggregation import blobs
from aggregation.leaf import messages


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One update. ``number`` is its place in the order in which they are summed."""

    number: int
    round: str
    said: messages.Update

    @property
    def assignment(self) -> str:
        """Return whose it is."""
        return self.said.assignment


class Journal:
    """A small file for each update; its tensors are in the blob store, by digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Threads add notes at the same moment; each takes its number in one step.
        self._numbers = itertools.count(1)

    def read(self) -> list[Member]:
        """Return what an earlier process left, in order."""
        found = []
        for path in self._folder.glob("*.json"):
            found.append(msgspec.json.decode(path.read_bytes(), type=Member))
        found.sort(key=lambda one: one.number)
        if found:
            self._numbers = itertools.count(found[-1].number + 1)
        return found

    def add(self, round_id: str, said: messages.Update) -> Member:
        """Note an update, durably. Raises StorageFull, OSError."""
        member = Member(number=next(self._numbers), round=round_id, said=said)
        path = self._path(said.assignment)
        new = path.with_suffix(".new")
        with blobs.refusing_when_full(), new.open("wb") as file:
            file.write(msgspec.json.encode(member))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        self._sync()
        return member

    def drop(self, assignments: list[str]) -> None:
        """Forget updates that the root has, or does not want; if a note comes back, it is asked."""
        for one in assignments:
            with contextlib.suppress(FileNotFoundError):
                self._path(one).unlink()

    def _path(self, assignment: str) -> Path:
        return self._folder / f"{assignment}.json"

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
