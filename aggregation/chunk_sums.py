"""XXH3 of each mebibyte of a blob, taken as it comes in and compared as it is folded.

SHA-256 names a blob and is taken once. To notice bytes that have changed on the disk since, a
check that costs next to nothing is enough: it goes over the bytes that folding has just read. The
sums stand beside the file, in ``DIGEST.xxh3``, and check themselves, for they are not fsynced: a
crash may lose them, and then nothing is checked but by the slow re-reading of everything.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import xxhash

CHUNK_BYTES = 1 << 20
SUFFIX = ".xxh3"
WIDTH = 8


class ChunkSums:
    """Takes a blob's bytes from first to last."""

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._hash = xxhash.xxh3_64()
        self._taken = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take what comes next."""
        rest = memoryview(data)
        while rest:
            part = rest[: CHUNK_BYTES - self._taken]
            self._hash.update(part)
            self._taken += len(part)
            if self._taken == CHUNK_BYTES:
                self._done.append(self._hash.digest())
                self._hash.reset()
                self._taken = 0
            rest = rest[len(part) :]

    def save(self, blob: Path) -> None:
        """Keep the sums beside the blob."""
        last = [self._hash.digest()] if self._taken else []
        text = b"".join([*self._done, *last])
        place = beside(blob)
        draft = place.with_name(f"{place.name}.{os.getpid()}-{id(self)}")
        try:
            draft.write_bytes(xxhash.xxh3_64_digest(text) + text)
            draft.replace(place)
        except OSError:
            draft.unlink(missing_ok=True)  # of a full disk, nothing else would ever find it
            raise


def beside(blob: Path) -> Path:
    """Return where the sums of a blob are."""
    return blob.with_name(blob.name + SUFFIX)


def read(blob: Path, size_bytes: int) -> list[bytes] | None:
    """Return a blob's sums, None if there are none that can be trusted."""
    try:
        text = beside(blob).read_bytes()
    except FileNotFoundError:
        return None
    own, sums = text[:WIDTH], text[WIDTH:]
    count = -(-size_bytes // CHUNK_BYTES)
    if len(sums) != count * WIDTH or xxhash.xxh3_64_digest(sums) != own:
        return None
    return [sums[start : start + WIDTH] for start in range(0, len(sums), WIDTH)]


class ChunkCheck:
    """Compares each chunk once, as soon as all of its bytes have been used.

    ``part`` returns bytes from the first to the second offset; ``fail`` raises for a bad range.
    """

    def __init__(
        self,
        sums: list[bytes],
        size_bytes: int,
        part: Callable[[int, int], bytes | memoryview],
        fail: Callable[[int, int], None],
    ) -> None:
        self._sums = sums
        self._part = part
        self._fail = fail
        self._size = size_bytes
        self._left = {
            number: self._end(number) - number * CHUNK_BYTES for number in range(len(sums))
        }

    def used(self, begin: int, end: int) -> None:
        """Note that these bytes have been read."""
        for number in range(begin // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
            if number in self._left:
                start = max(begin, number * CHUNK_BYTES)
                self._left[number] -= min(end, self._end(number)) - start
                if self._left[number] <= 0:
                    self._compare(number)

    def compare(self, begin: int, end: int) -> None:
        """Compare the chunks of these bytes now, if they have not been."""
        for number in range(begin // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
            if number in self._left:
                self._compare(number)

    def finish(self) -> None:
        """Compare what has not been compared."""
        for number in list(self._left):
            self._compare(number)

    def _end(self, number: int) -> int:
        return min(self._size, (number + 1) * CHUNK_BYTES)

    def _compare(self, number: int) -> None:
        del self._left[number]
        begin, end = number * CHUNK_BYTES, self._end(number)
        if xxhash.xxh3_64_digest(self._part(begin, end)) != self._sums[number]:
            self._fail(begin, end)
