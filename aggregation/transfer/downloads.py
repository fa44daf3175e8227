"""Parameters and programs by digest: ranges, and caching for good."""

from __future__ import annotations

import asyncio
import functools
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from django.conf import settings

from aggregation import blobs
from aggregation.transfer.exchange import Exchange, WithHeaders
from aggregation.transfer.threads import Threads
from aggregation.under_way import Moving, Transfers

YEAR_S = 365 * 86_400
STALL_S = 60.0
"""A client that takes nothing for so long is cut off; it resumes by range."""

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


class RangeNotSatisfiable(WithHeaders):
    """The range begins past the end."""

    code, status, title = "range_not_satisfiable", 416, "There are no such bytes"

    def __init__(self, asked: str, size: int) -> None:
        super().__init__(f"{asked!r} of a blob of {size} bytes; ask for bytes below {size}")
        self.headers = {"content-range": f"bytes */{size}"}


async def serve(
    exchange: Exchange, digest: str, threads: Threads, *, assignment: str, transfers: Transfers
) -> int:
    """Answer GET or HEAD for a blob; returns how many bytes were sent.

    ``transfers`` hears how far it is, but for what the reverse proxy sends.

    Raises BlobMissing, RangeNotSatisfiable, OSError.
    """
    etag = f'"{digest}"'
    headers = {
        "etag": etag,
        "cache-control": f"private, max-age={YEAR_S}, immutable",
        "accept-ranges": "bytes",
    }
    if _names(exchange.headers.get("if-none-match", ""), etag):
        await exchange.answer(304, headers)
        return 0
    headers["content-type"] = "application/octet-stream"
    store = blobs.store()
    path = await threads.files(lambda: store.path(digest))
    if settings.PROPIUS_X_ACCEL_PREFIX:
        place = path.relative_to(store.root).as_posix()
        headers["x-accel-redirect"] = f"{settings.PROPIUS_X_ACCEL_PREFIX}/{place}"
        await exchange.answer(200, headers)
        return 0
    descriptor = await threads.files(functools.partial(os.open, path, os.O_RDONLY))
    told = functools.partial(transfers.begin, assignment, "down")
    return await _send(exchange, _File(descriptor, path, threads), headers, told)


class _File:
    """An open blob. It is closed only when no thread reads it: its number may be a socket's by
    then."""

    def __init__(self, descriptor: int, path: Path, threads: Threads) -> None:
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._path = path
        self._threads = threads
        self._reading: asyncio.Future[bytes] | None = None

    async def read(self, size: int, offset: int) -> bytes:
        """Return some bytes, at least one. Raises BlobMissing."""
        work = functools.partial(os.pread, self._descriptor, size, offset)
        self._reading = asyncio.ensure_future(self._threads.files(work))
        data = await asyncio.shield(self._reading)
        if not data:
            raise blobs.BlobMissing(f"blob {self._path.name} ends at byte {offset}")
        return data

    async def close(self) -> None:
        if self._reading is not None and not self._reading.done():
            await asyncio.wait([self._reading])
        os.close(self._descriptor)


async def _send(
    exchange: Exchange,
    file: _File,
    headers: dict[str, str],
    told: Callable[..., AbstractContextManager[Moving]],
) -> int:
    gone = asyncio.ensure_future(exchange.until_gone())
    try:
        # What is asked of a HEAD is the whole (RFC 9110).
        asked = exchange.headers.get("range", "") if exchange.method == "GET" else ""
        if exchange.headers.get("if-range", headers["etag"]) != headers["etag"]:
            asked = ""
        span = parse_range(asked, file.size)
        begin, end = span or (0, file.size)
        if span:
            headers["content-range"] = f"bytes {begin}-{end - 1}/{file.size}"
        headers["content-length"] = str(end - begin)
        await exchange.start(206 if span else 200, headers)
        position = end if exchange.method == "HEAD" else begin
        with told(done_bytes=position, size_bytes=file.size) as moving:
            while position < end and not gone.done():
                data = await file.read(min(blobs.CHUNK_BYTES, end - position), position)
                position += len(data)
                async with asyncio.timeout(STALL_S):
                    await exchange.send(data, more=True)
                moving.reached(position)
        if not gone.done():
            await exchange.send(b"", more=False)
        return 0 if exchange.method == "HEAD" else position - begin
    finally:
        gone.cancel()
        await file.close()


def parse_range(asked: str, size: int) -> tuple[int, int] | None:
    """Return (begin, end) of one range; None for the whole.

    What is no single range is passed over, as RFC 9110 allows.

    Raises RangeNotSatisfiable.
    """
    found = _RANGE.fullmatch(asked.strip())
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        begin, end = max(0, size - int(last)), size
    else:
        begin, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < begin:
            return None
    if begin >= size:
        raise RangeNotSatisfiable(asked, size)
    return begin, end


def _names(header: str, etag: str) -> bool:
    tags = [one.strip().removeprefix("W/") for one in header.split(",")]
    return etag in tags or tags == ["*"]
