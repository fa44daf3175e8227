"""Bodies that are never whole in memory, in and out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request

from aggregation.blobs import CHUNK_BYTES, BlobTooLarge
from core import files

BINARY = "application/octet-stream"


def received(request: Request, *, limit: int) -> Iterator[bytes]:
    """Yield a raw body piece by piece; the ASGI handler has put it on the disk, not in memory.

    Raises UnsupportedMediaType, BlobTooLarge.
    """
    kind = request.content_type or ""
    if kind.partition(";")[0].strip().lower() != BINARY:
        raise UnsupportedMediaType(kind, f"{kind!r}; send the file itself as {BINARY}")
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise BlobTooLarge(f"the file has {announced} bytes; at most {limit} are allowed")
    return iter(lambda: request._request.read(CHUNK_BYTES), b"")


async def sent(path: Path) -> AsyncIterator[bytes]:
    """Yield a file piece by piece. Asynchronous: Django would put a plain iterator in a list."""
    opening = asyncio.to_thread(lambda: path.open("rb", buffering=0))
    file: BinaryIO = await files.opened(opening)
    reading: asyncio.Future[bytes] | None = None
    try:
        while True:
            reading = asyncio.ensure_future(asyncio.to_thread(file.read, CHUNK_BYTES))
            chunk = await asyncio.shield(reading)
            if not chunk:
                break
            yield chunk
    finally:
        if reading is not None and not reading.done():
            # Its thread still reads; the number of a closed file may be a socket's by then.
            await asyncio.wait([reading])
        file.close()
