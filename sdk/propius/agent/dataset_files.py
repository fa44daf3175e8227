"""A data set's files: whether they changed, and whose fault it is that they cannot be read."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from propius.agent.datasets import DatasetEntry

FILES_MAX = 200_000
UNREADABLE = (
    OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy raises at a file that is no npz, or is one no more."""


def is_passing(error: BaseException) -> bool:
    """Tell whether the system is at the bottom of an error, not what the data set holds."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()  # an error may be its own cause
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        # Pillow raises OSError, without a number, at an image that is none.
        if isinstance(one, MemoryError) or (isinstance(one, OSError) and one.errno):
            return True
        seen.add(id(one))
        left += [one.__cause__, one.__context__]
    return False


def state(entry: DatasetEntry, source: Path, base: Path) -> str:
    """Return what changes whenever the data set must be read again."""
    if entry.loader is not None:
        source = base / (entry.loader.partition(":")[0].replace(".", "/") + ".py")
        if not source.exists():
            return _hash(entry, [])  # an installed module: prepared once
    files = [source]
    if source.is_dir():
        files = sorted(one for one in source.rglob("*") if one.is_file())[:FILES_MAX]
    return _hash(entry, [(str(one), one.stat().st_mtime_ns, one.stat().st_size) for one in files])


def _hash(entry: DatasetEntry, files: list[tuple[str, int, int]]) -> str:
    return hashlib.sha256(msgspec.json.encode((entry, files))).hexdigest()
