"""Downloads by digest: complete ones in a cache with a size cap, half-done ones beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from propius.agent.spool import file_digest

DEFAULT_BYTES = 1 << 30
PARTIAL_RETENTION_S = 86_400.0


class BlobCache:
    """Content-addressed files; the longest unused go first.

    Parameters
    ----------
    folder
        Complete and verified files, named by digest. Agents of one process may share it.
    partial
        This device's half-done downloads.
    max_bytes
        Cap of ``folder``. What is not to be spared goes first, so only the half-done download of
        an assignment that fits may go over it.
    """

    def __init__(self, folder: Path, partial: Path, *, max_bytes: int = DEFAULT_BYTES) -> None:
        self.folder = folder
        self._partial = partial
        self.max_bytes = max_bytes
        self._needed: frozenset[str] = frozenset()

    def spare(self, digests: Iterable[str]) -> None:
        """Let these stay, and none but these, whatever room is wanted."""
        self._needed = frozenset(digests)

    def path(self, digest: str) -> Path:
        """Return where a complete file of this digest is."""
        return self.folder / digest

    def partial(self, digest: str) -> Path:
        """Return where a half-done download of this digest is."""
        return self._partial / digest

    def find(self, digest: str) -> Path | None:
        """Return the complete file if it is here and undamaged, and count it as used."""
        path = self.path(digest)
        try:
            if file_digest(path)[0] != digest:
                path.unlink(missing_ok=True)
                return None
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def admit(self, digest: str) -> Path:
        """Move a verified download into the cache and make room."""
        path = self.path(digest)
        self.partial(digest).replace(path)
        os.utime(path)
        self._evict(keep=self._needed | {digest})
        return path

    def clear_partials(self) -> None:
        """Delete half-done downloads that nobody has come back for."""
        oldest = time.time() - PARTIAL_RETENTION_S
        for path in self._partial.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _evict(self, *, keep: frozenset[str]) -> None:
        entries: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            entries.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.max_bytes:
                return
            if path.name not in keep:
                path.unlink(missing_ok=True)
                total -= size
