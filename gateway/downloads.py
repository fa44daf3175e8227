"""Downloads of one connection: each a task beside the dispatch, so that credits are seen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import BinaryIO

from aggregation import blobs
from aggregation.under_way import Moving, Transfers
from core import files
from core.errors import PropiusError
from gateway.instructions import StartDownload
from gateway.line import Line
from gateway.metrics import BYTES, TRANSFERS
from gateway.threads import BROKEN, Threads
from propius import wire

logger = logging.getLogger(__name__)

MAX_CREDIT = 4 * 1024 * 1024
MAX_AT_ONCE = 4
READ_BYTES = 4 * wire.MAX_CHUNK
"""Read at once; with what the line queues, the most that a transfer has in memory."""

Failed = Callable[[str, str], None]
Moved = Callable[[str, float], None]


class Download:
    """One blob on its way to the device."""

    def __init__(self, order: StartDownload, line: Line, threads: Threads) -> None:
        self._order = order
        self._line = line
        self._threads = threads
        self._credit = min(order.credit, MAX_CREDIT)
        self._more = asyncio.Event()
        self._reading: asyncio.Future[bytes] | None = None

    def add_credit(self, size_bytes: int) -> None:
        """Let more bytes go."""
        self._credit = min(self._credit + size_bytes, MAX_CREDIT)
        self._more.set()

    async def run(self, moving: Moving, moved: Moved) -> None:
        """Send every byte from the offset on. Raises PropiusError."""
        path = await self._threads.files(lambda: blobs.store().path(self._order.blob.digest))
        opening = self._threads.files(lambda: path.open("rb", buffering=0))
        file: BinaryIO = await files.opened(opening)
        try:
            await self._send(file, moving, moved)
        finally:
            if self._reading is not None and not self._reading.done():
                # Its thread still reads; the number of a closed file may be a socket's by then.
                await asyncio.wait([self._reading])
            file.close()

    async def _send(self, file: BinaryIO, moving: Moving, moved: Moved) -> None:
        order = self._order
        offset, end = order.offset, order.blob.size_bytes
        await self._threads.files(lambda: file.seek(offset))
        while offset < end:
            while self._credit <= 0:
                self._more.clear()
                await self._more.wait()
            wanted = min(READ_BYTES, self._credit, end - offset)
            reading = self._threads.files(lambda: file.read(wanted))  # noqa: B023
            self._reading = asyncio.ensure_future(reading)
            data = memoryview(await asyncio.shield(self._reading))
            if not data:
                raise blobs.BlobMissing(f"blob {order.blob.digest} ends at byte {offset}")
            self._credit -= len(data)
            for start in range(0, len(data), wire.MAX_CHUNK):
                part = data[start : start + wire.MAX_CHUNK]
                await self._line.chunk(wire.pack_chunk(order.transfer, offset, part))
                offset += len(part)
            BYTES.labels("down").inc(len(data))
            moving.reached(offset)
            moved("downloading", offset / end)


class Downloads:
    """All downloads of a connection."""

    def __init__(self, line: Line, threads: Threads, failed: Failed, transfers: Transfers) -> None:
        self._line = line
        self._threads = threads
        self._failed = failed
        self._transfers = transfers
        self._running: dict[int, tuple[Download, asyncio.Task[None]]] = {}

    def start(self, order: StartDownload, moved: Moved) -> None:
        """Begin a download, unless the device overdoes it."""
        if order.transfer in self._running:
            self._failed("transfer_in_use", f"transfer {order.transfer} is under way")
        elif len(self._running) >= MAX_AT_ONCE:
            self._failed("too_many_transfers", f"at most {MAX_AT_ONCE} downloads at once")
        else:
            one = Download(order, self._line, self._threads)
            task = asyncio.create_task(self._run(one, order, moved))
            self._running[order.transfer] = (one, task)

    def add_credit(self, transfer: int, size_bytes: int) -> None:
        """Hand credit to its download; one that has just ended needs none."""
        found = self._running.get(transfer)
        if found is not None:
            found[0].add_credit(size_bytes)

    def stop(self) -> None:
        """End all of them."""
        for _, task in self._running.values():
            task.cancel()
        self._running.clear()

    async def _run(self, one: Download, order: StartDownload, moved: Moved) -> None:
        told = self._transfers.begin(
            order.assignment, "down", done_bytes=order.offset, size_bytes=order.blob.size_bytes
        )
        with TRANSFERS.labels("down").track_inprogress(), told as moving:
            try:
                await one.run(moving, moved)
            except (PropiusError, OSError) as error:
                logger.error(
                    "gateway.download_failed",
                    extra={"assignment": order.assignment, "reason": str(error)},
                )
                code = error.code if isinstance(error, PropiusError) else "storage_failed"
                self._failed(code, f"{order.blob.digest} cannot be sent now")
            except Exception:
                # The edge: the device must not wait for ever for bytes that do not come.
                logger.exception("gateway.download_failed", extra={"assignment": order.assignment})
                self._failed(*BROKEN)
            finally:
                if self._running.get(order.transfer, (None,))[0] is one:
                    del self._running[order.transfer]
