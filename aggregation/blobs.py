"""The blob store: files named by the SHA-256 of their bytes.

A digest that this module has returned is durable: the bytes and the folder's entry are on disk.
Rows (:class:`aggregation.models.Blob`) say whose they are; this module knows bytes only, so that
an object store can take its place.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from django.conf import settings

from aggregation import chunk_sums
from aggregation.chunk_sums import ChunkSums
from core.errors import TooLarge, Unavailable, Unprocessable

CHUNK_BYTES = 1 << 20
DIGEST_CHARS = 64
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StorageFull(Unavailable):
    """The disk has no room; nothing was kept."""

    code = "storage_full"


class BlobTooLarge(TooLarge):
    """More bytes than the cap."""

    code = "too_large"


class BlobMissing(Unprocessable):
    """No file has this digest, though a row names it."""

    code = "blob_missing"


class BlobRotted(BlobMissing):
    """The bytes on the disk are not those that came in."""

    code = "blob_rotted"


@contextmanager
def refusing_when_full() -> Iterator[None]:
    """Turn "no space left" into StorageFull; other faults of the disk stay what they are."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(
                "the platform's disk is full, nothing was kept; try again later"
            ) from error
        raise


class Writer:
    """Takes bytes of unknown digest; :meth:`commit` makes them durable and names them."""

    def __init__(self, store: BlobStore, limit: int | None) -> None:
        self._store = store
        self._limit = limit
        self._hash = hashlib.sha256()
        self._sums = ChunkSums()
        self.path = store.incoming / f"{uuid.uuid4().hex}.part"
        self.size_bytes = 0
        with refusing_when_full():
            self._file = self.path.open("xb", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises BlobTooLarge, StorageFull."""
        if self._limit is not None and self.size_bytes + len(data) > self._limit:
            raise BlobTooLarge(f"more than {self._limit} bytes; at most {self._limit} are allowed")
        with refusing_when_full():
            write_all(self._file.fileno(), data)
        self._hash.update(data)
        self._sums.update(data)
        self.size_bytes += len(data)

    def commit(self) -> str:
        """Make the bytes durable and return their digest. Raises StorageFull."""
        digest = self._hash.hexdigest()
        with refusing_when_full():
            os.fsync(self._file.fileno())
        self._file.close()
        self._store.adopt(self.path, digest, self._sums)
        return digest

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)  # commit has moved it away


class BlobStore:
    """Files below one folder: ``ab/cd/abcd…``, and ``incoming/`` for what is not whole yet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "incoming"
        with refusing_when_full():
            self.incoming.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, digest: str) -> Path:
        """Return where the bytes of ``digest`` are. Raises BlobMissing."""
        path = self._place(digest)
        if not path.is_file():
            if _set_aside(path).exists():
                raise rotted(digest)
            raise BlobMissing(f"blob {digest} is not on this machine's disk")
        return path

    def writer(self, *, limit: int | None = None) -> Writer:
        """Begin a blob; at most ``limit`` bytes."""
        return Writer(self, limit)

    def adopt(self, path: Path, digest: str, sums: ChunkSums) -> None:
        """Name a whole and fsynced file of :attr:`incoming` by its digest, durably.

        Its time becomes now, which keeps :meth:`delete` off until a row can name it.
        """
        place = self._place(digest)
        with refusing_when_full():
            self._make(place.parent)
            with _locked(place.parent):
                os.utime(path)
                os.replace(path, place)
                sums.save(place)
                _set_aside(place).unlink(missing_ok=True)
                _sync_folder(place.parent)

    def delete(self, digest: str, *, grace_s: float) -> bool:
        """Delete the file unless it came within ``grace_s``; tell whether it is gone."""
        place = self._place(digest)
        if not place.parent.is_dir():
            return True
        # The lock stands between looking at the time and deleting, where adopt() could come in.
        with _locked(place.parent):
            _set_aside(place).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                if time.time() - place.stat().st_mtime < grace_s:
                    return False
                place.unlink()
            chunk_sums.beside(place).unlink(missing_ok=True)
        return True

    def set_aside(self, digest: str) -> bool:
        """Keep bytes that have rotted out of use; False if they were before.

        The same blob may come in again.
        """
        place = self._place(digest)
        with _locked(place.parent), suppress(FileNotFoundError):
            os.replace(place, _set_aside(place))
            _sync_folder(place.parent)
            return True
        return False

    def digests(self) -> Iterator[str]:
        """Every digest on the disk."""
        for path in self.root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
            if len(path.name) == DIGEST_CHARS:  # beside them are their sums
                yield path.name

    def clear_incoming(self, *, older_s: float) -> int:
        """Remove what was begun and not touched for ``older_s``; returns how many."""
        count = 0
        for path in self.incoming.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_s:
                    path.unlink()
                    count += 1
        return count

    def _place(self, digest: str) -> Path:
        if len(digest) != DIGEST_CHARS or not set(digest) <= set("0123456789abcdef"):
            raise BlobMissing(f"{digest[:80]!r} is no SHA-256 in lower-case hexadecimal")
        return self.root / digest[:2] / digest[2:4] / digest

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sync_folder(folder.parent)
        _sync_folder(self.root)


def store() -> BlobStore:
    """Return this machine's store."""
    return BlobStore(Path(settings.PROPIUS_HOME) / "blobs")


def rotted(digest: str, begin: int | None = None, end: int | None = None) -> BlobRotted:
    """Return the error for a blob whose bytes have changed on the disk."""
    where = "" if begin is None else f" between bytes {begin} and {end}"
    return BlobRotted(f"blob {digest} has changed on the disk{where} since it came in")


def read_chunks(path: Path, offset: int = 0) -> Iterator[bytes]:
    """The bytes of a file, a megabyte at a time."""
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data``: a raw write may take less than it was given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _set_aside(place: Path) -> Path:
    return place.with_name(place.name + ".rotted")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
