"""Finished results that wait to be sent; they outlive the connection and the process."""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path

import msgspec

from propius import wire
from propius.agent.events import Finished
from propius.agent.identity import write_private

log = logging.getLogger(__name__)
RETENTION_S = 86_400.0
MEMORY_S = 30 * 86_400.0


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    assignment: wire.Assignment
    finished: Finished
    saved_at: float


class Spool:
    """The folder of waiting results, one at a time in practice, and the memories of jobs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memories = folder.with_name("memory")

    def update(self, assignment: str) -> Path:
        """Return where the update of this assignment is, or shall be."""
        return self._folder / f"{_name(assignment)}.safetensors"

    def memory(self, job: str) -> Path:
        """Return where the memory of this job is, or would be."""
        return self._memories / f"{_name(job)}.safetensors"

    def remembered(self, assignment: str) -> Path:
        """Return where the work of this assignment writes what it wants remembered."""
        return self._folder / f"{_name(assignment)}.memory"

    def accepted(self, assignment: str) -> None:
        """Make what an accepted update left behind the memory of its job; drop old memories."""
        found = self.remembered(assignment)
        try:
            record = (self._folder / f"{_name(assignment)}.json").read_bytes()
            job = msgspec.json.decode(record, type=_Record).assignment.job
            self._memories.mkdir(mode=0o700, exist_ok=True)
            found.replace(self.memory(job))
            for path in self._memories.iterdir():
                if time.time() - path.stat().st_mtime > MEMORY_S:
                    path.unlink()
        except FileNotFoundError:
            # Most updates leave nothing behind.
            return
        except (OSError, ValueError) as error:
            log.warning("memory.unusable: %s", error)

    def save(
        self, assignment: wire.Assignment, *, weight: float, metrics: dict[str, float]
    ) -> Finished:
        """Keep a result whose update, if it has one, is already in :meth:`update`."""
        digest, size = "", 0
        if assignment.kind == "train":
            digest, size = file_digest(self.update(assignment.id))
        finished = Finished(weight, metrics, digest, size)
        record = _Record(assignment=assignment, finished=finished, saved_at=time.time())
        write_private(self._folder / f"{_name(assignment.id)}.json", msgspec.json.encode(record))
        return finished

    def forget(self, assignment: str) -> None:
        """Delete a result."""
        self.update(assignment).unlink(missing_ok=True)
        self.remembered(assignment).unlink(missing_ok=True)
        (self._folder / f"{_name(assignment)}.json").unlink(missing_ok=True)

    def newest(self) -> tuple[wire.Assignment, Finished] | None:
        """Return the newest result that is whole, and delete everything else."""
        found: list[_Record] = []
        for path in self._folder.glob("*.json"):
            record = self._whole(path)
            if record is not None:
                found.append(record)
        best = max(found, key=lambda record: record.saved_at, default=None)
        kept = _name(best.assignment.id) if best else None
        for path in self._folder.iterdir():
            if path.stem != kept:
                path.unlink(missing_ok=True)
        return (best.assignment, best.finished) if best else None

    def _whole(self, path: Path) -> _Record | None:
        try:
            record = msgspec.json.decode(path.read_bytes(), type=_Record)
            if time.time() - record.saved_at > RETENTION_S:
                return None
            update = self.update(record.assignment.id)
            if record.finished.digest and file_digest(update)[0] != record.finished.digest:
                raise ValueError("the update's digest does not match")
        except (OSError, ValueError) as error:
            log.warning("spool.unusable %s: %s", path.name, error)
            return None
        return record


def file_digest(path: Path) -> tuple[str, int]:
    """Return SHA-256 in hex and size of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()


def _name(assignment: str) -> str:
    # The id is the server's word: hashed, it cannot name a path elsewhere.
    return hashlib.sha256(assignment.encode()).hexdigest()[:32]
