"""What the devices of a fleet have in common on disk: blobs they fetched, updates they made.

Each device fetches its own bytes from the server; one copy of them is kept for all.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from propius import wire
from propius.agent.spool import file_digest
from propius.agent.trainer import LocalWork

MAX_FILES = 64


class Shelf:
    """A folder of files by name; the oldest go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, tuple[str, int]] = {}
        self._updates: dict[str, tuple[Path, bool]] = {}

    def path(self, name: str) -> Path:
        """Return where this file is, or would be."""
        return self._folder / name

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def put(self, name: str, content: bytes) -> None:
        """Keep a blob."""
        if name not in self._files:
            self.path(name).write_bytes(content)
            self._note(name)

    def unchanged(self, assignment: wire.Assignment, *, local_steps: int) -> tuple[str, str, int]:
        """Return name, digest and size of the update of a device that has learnt nothing.

        Encoded once for all devices of a round, as the assignment's codec has it.

        Raises
        ------
        TrainingError, TensorError, OSError
            As :func:`propius.agent.updates.write` does.
        """
        one = assignment
        name = f"{one.job} {one.parameters.digest} {one.codec} {local_steps}"
        name = hashlib.sha256(name.encode()).hexdigest() + ".update"
        if name not in self._files:
            self._encode(one, name)
        return name, *self._files[name]

    def keep(self, assignment: str, update: Path, *, is_own: bool) -> None:
        """Note which file is the update of an assignment, and whether it is that one's alone."""
        self._updates[assignment] = update, is_own

    def update_of(self, assignment: str) -> Path:
        """Return the file of an update that was made."""
        return self._updates[assignment][0]

    def forget(self, assignment: str) -> None:
        """Let go of an update."""
        path, is_own = self._updates.pop(assignment, (self._folder, False))
        if is_own:
            path.unlink(missing_ok=True)

    def _encode(self, one: wire.Assignment, name: str) -> None:
        from propius.agent import updates  # numpy, which a fleet that never trains does without

        parameters = self.path(one.parameters.digest)
        work = LocalWork(
            assignment=one,
            parameters=parameters,
            program=self.path(one.program.digest) if one.program else None,
            dataset=self._folder,
            handler=None,
            output=self.path(name),
        )
        updates.write(work, parameters)
        self._note(name)

    def _note(self, name: str) -> None:
        self._files[name] = file_digest(self.path(name))
        while len(self._files) > MAX_FILES:
            oldest = next(iter(self._files))
            del self._files[oldest]
            with contextlib.suppress(FileNotFoundError):
                self.path(oldest).unlink()
