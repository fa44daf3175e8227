"""The upload of one assignment: chunks to disk, checks, and the commit that makes it count."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from uuid import UUID

from django.utils import timezone

import aggregation.services
import jobs.services
from aggregation import uploads
from aggregation.under_way import Moving, Transfers
from aggregation.uploads import UploadSink
from core import files
from core.errors import PropiusError, Unavailable
from gateway.events import (
    ChunkWritten,
    ComeBackLater,
    Event,
    Faulted,
    UpdateAccepted,
    UpdateRefused,
    UploadOpened,
)
from gateway.gathering import Gathering
from gateway.limits import pace
from gateway.metrics import BYTES, RESULTS, TRANSFERS
from gateway.threads import BROKEN, PATIENCE_S, DatabaseAway, Threads
from propius import wire

logger = logging.getLogger(__name__)

BUSY_TRIES = 40
BUSY_WAIT_S = 0.25
MISMATCHES_MAX = 10_000
OVER = (jobs.services.RoundClosed, jobs.services.AssignmentOver, jobs.services.StaleAssignment)
Feed = Callable[[Event], None]
Counted = aggregation.services.Accepted | PropiusError


class Desk:
    """What uploads ask of the rows, many at a time: a round's devices end at the same moment."""

    def __init__(self, threads: Threads) -> None:
        self.looking = Gathering[tuple[UUID, UUID], uploads.Wanted | None](
            lambda many: threads.rows(
                lambda: uploads.wanted(held=many, now=timezone.now()), patience_s=PATIENCE_S
            )
        )
        self.counting = Gathering[aggregation.services.Arrived, Counted](
            lambda many: threads.rows(
                lambda: aggregation.services.accept_updates(arrived=many, now=timezone.now()),
                patience_s=PATIENCE_S,
            )
        )
        self._mismatched: dict[str, None] = {}

    def is_first_mismatch(self, assignment: str) -> bool:
        """Tell whether the bytes of this update have come damaged for the first time, here."""
        if assignment in self._mismatched:
            del self._mismatched[assignment]
            return False
        if len(self._mismatched) >= MISMATCHES_MAX:
            del self._mismatched[next(iter(self._mismatched))]
        self._mismatched[assignment] = None
        return True


class Upload:
    """Takes the chunks of one update. What is under way when the connection breaks is kept."""

    def __init__(
        self,
        order: wire.Upload,
        *,
        device: str,
        max_bytes: int,
        threads: Threads,
        desk: Desk,
        transfers: Transfers,
        feed: Feed,
    ) -> None:
        self._desk = desk
        self._transfers = transfers
        self._order = order
        self._device = UUID(device)
        self._assignment = UUID(order.assignment)
        self._max_bytes = max_bytes
        self._threads = threads
        self._feed = feed
        self._chunks: deque[memoryview] = deque()
        self._more = asyncio.Event()
        self._complete = False
        self._keep = True
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Future[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin."""
        self._task = asyncio.create_task(self._run())
        return self._task

    def write(self, payload: memoryview) -> None:
        """Take the next chunk; the credit bounds how many wait."""
        self._chunks.append(payload)
        self._more.set()

    def finish(self) -> None:
        """The last chunk has been handed in."""
        self._complete = True
        self._more.set()

    def stop(self, *, keep: bool) -> None:
        """End an upload that is not complete; ``keep`` what came, to be resumed."""
        if self._task is not None and not self._complete:
            self._keep = keep
            self._task.cancel()

    async def _run(self) -> None:
        with TRANSFERS.labels("up").track_inprogress():
            try:
                sink = await self._receive()
                if sink is not None:
                    await self._count(sink)
                RESULTS.labels("accepted").inc()
                self._feed(UpdateAccepted(self._order.assignment))
            except PropiusError as error:
                self._feed(self._verdict(error))
            except DatabaseAway:
                # The device keeps its assignment, and we its bytes: it comes back with them.
                self._feed(come_back())
            except OSError as error:
                logger.error(
                    "gateway.upload_failed",
                    extra={"assignment": self._order.assignment, "reason": str(error)},
                )
                self._feed(not_now("storage_failed", "the update cannot be stored now"))
            except Exception:
                # The edge: the device must not wait for ever for an answer that died here.
                logger.exception(
                    "gateway.upload_failed", extra={"assignment": self._order.assignment}
                )
                self._feed(Faulted(*BROKEN))

    async def _receive(self) -> UploadSink | None:
        """Take all bytes and make them durable; None if the update counts already."""
        sink = await self._open()
        if sink is None:
            return None
        told = self._transfers.begin(
            self._order.assignment, "up", done_bytes=sink.offset, size_bytes=sink.size_bytes
        )
        try:
            with told as moving:
                self._feed(UploadOpened(self._order.transfer, sink.offset))
                await self._take_all(sink, moving)
            await self._threads.files(sink.finish)
        finally:
            if self._writing is not None and not self._writing.done():
                await asyncio.wait([self._writing])  # cancelled, but its thread still writes
            await self._threads.files(sink.close if self._keep else sink.discard)
        return sink

    async def _take_all(self, sink: UploadSink, moving: Moving) -> None:
        while self._chunks or not self._complete:
            if not self._chunks:
                self._more.clear()
                await self._more.wait()
                continue
            await self._write(sink)
            moving.reached(sink.offset)

    async def _write(self, sink: UploadSink) -> None:
        chunks = list(self._chunks)
        self._chunks.clear()
        size = sum(map(len, chunks))
        self._writing = asyncio.ensure_future(self._threads.files(lambda: _append(sink, chunks)))
        await asyncio.shield(self._writing)
        BYTES.labels("up").inc(size)
        self._feed(ChunkWritten(self._order.transfer, size))

    async def _open(self) -> UploadSink | None:
        """Open the file, once an older connection's hold on it has ended; None if it counts."""
        for _ in range(BUSY_TRIES):
            held = await self._desk.looking.ask((self._assignment, self._device))
            if held is None:
                return None
            try:
                return await files.opened(self._threads.files(lambda: self._sink(held)))  # noqa: B023
            except uploads.UpdateRefused as error:
                if error.code != "upload_busy":
                    raise
                busy = error
            await asyncio.sleep(BUSY_WAIT_S)
        raise busy

    def _sink(self, held: uploads.Wanted) -> UploadSink:
        return uploads.open_sink(
            held,
            digest=self._order.digest,
            size_bytes=self._order.size_bytes,
            max_bytes=self._max_bytes,
        )

    async def _count(self, sink: UploadSink) -> None:
        order = self._order
        arrived = aggregation.services.Arrived(
            assignment_id=self._assignment,
            device_id=self._device,
            digest=order.digest,
            size_bytes=order.size_bytes,
            weight=order.weight,
            metrics=order.metrics,
        )
        try:
            answer = await self._desk.counting.ask(arrived)
        except DatabaseAway:
            await self._threads.files(sink.put_back)
            raise
        if isinstance(answer, PropiusError):
            raise answer

    def _verdict(self, error: PropiusError) -> UpdateRefused | ComeBackLater:
        """Say no for good only to what would come out the same again."""
        passes = isinstance(error, Unavailable) or error.code == "upload_busy"
        if error.code == "digest_mismatch":
            passes = self._desk.is_first_mismatch(self._order.assignment)
        if passes:
            return not_now(error.code, error.detail)
        return refusal(self._order.assignment, error)


def not_now(code: str, message: str) -> ComeBackLater:
    """Return the event that ends the session for what passes: the device comes with it again."""
    RESULTS.labels(code).inc()
    return ComeBackLater(pace(8, 1.0), code, message)


def come_back() -> ComeBackLater:
    """Return the event that ends the session for an outage; what the device holds stays its own."""
    return ComeBackLater(
        pace(0, 1.0), "unavailable", "the platform's database is away; nothing is lost"
    )


def refusal(assignment: str, error: PropiusError) -> UpdateRefused:
    """Return the event for a result that was not taken."""
    RESULTS.labels(error.code).inc()
    bound = not isinstance(error, OVER)
    return UpdateRefused(assignment, error.code, error.detail, error.errors, bound)


def _append(sink: UploadSink, chunks: list[memoryview]) -> None:
    for chunk in chunks:
        sink.write(sink.offset, chunk)
