"""An update by PUT: resumed by offset, streamed to disk, counted before the answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

import jobs.services
from aggregation import blobs, incoming, results, services, uploads
from aggregation.models import Hold, Update
from aggregation.tickets import Ticket
from aggregation.transfer.exchange import Exchange, WithHeaders
from aggregation.transfer.pace import Pace
from aggregation.transfer.threads import DatabaseAway, Threads
from aggregation.under_way import Moving, Transfers
from aggregation.uploads import UploadSink
from core import knobs
from core.errors import Invalid
from jobs.models import Assignment
from jobs.services import Progress
from propius import wire
from propius.wire import fields

Clock = Callable[[], datetime]


class BadHeaders(Invalid):
    """Headers that say what an update is are missing or out of range."""

    code = "bad_headers"


class OffsetMismatch(WithHeaders):
    """The body begins elsewhere than where the bytes here end."""

    code = "offset_mismatch"

    def __init__(self, asked: int, wanted: int) -> None:
        super().__init__(
            f"the body begins at byte {asked}; byte {wanted} is next",
            errors={"Upload-Offset": f"{asked}; {wanted} is next"},
        )
        self.headers = {"upload-offset": str(wanted)}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers of a PUT say; fields are named after them."""

    digest: fields.Digest = msgspec.field(name="upload-digest")
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)] = msgspec.field(name="upload-length")
    offset: fields.Size = msgspec.field(name="upload-offset", default=0)
    weight: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = msgspec.field(name="update-weight")
    metrics: dict[fields.Name, float] = msgspec.field(name="update-metrics", default_factory=dict)


def read_order(headers: Mapping[str, str]) -> Order:
    """Read and check the headers of a PUT. Raises BadHeaders, UpdateRefused (``bad_report``)."""
    said: dict[str, Any] = dict(headers)
    try:
        if "update-metrics" in said:
            said["update-metrics"] = msgspec.json.decode(said["update-metrics"])
    except msgspec.DecodeError as error:
        raise BadHeaders(f"Update-Metrics is not JSON: {error}") from error
    try:
        order = msgspec.convert(said, Order, strict=False)
    except msgspec.ValidationError as error:
        raise BadHeaders(f"the headers of the request: {error}") from error
    results.check(order.weight, order.metrics)
    return order


def announced_digest(exchange: Exchange) -> str:
    """Return which update a HEAD asks about. Raises BadHeaders."""
    try:
        return msgspec.convert(exchange.headers.get("upload-digest"), fields.Digest)
    except msgspec.ValidationError as error:
        raise BadHeaders(f"Upload-Digest: {error}") from error


async def begun(exchange: Exchange, ticket: Ticket, threads: Threads) -> None:
    """Answer HEAD: how many bytes are here, and whether the update counts already.

    Raises BadHeaders; StaleAssignment, RoundClosed, AssignmentOver; DatabaseAway.
    """
    digest = announced_digest(exchange)
    assignment_id = UUID(ticket.assignment)
    offset = await threads.files(lambda: incoming.size(assignment_id=assignment_id, digest=digest))
    headers = {"cache-control": "no-store", "upload-complete": "?0"}
    if not offset:
        counted = await threads.rows(lambda: _counted_bytes(assignment_id))
        if counted is not None:
            offset, headers["upload-complete"] = counted, "?1"
    headers["upload-offset"] = str(offset)
    headers["upload-limit"] = f"max-size={ticket.upload_bytes}"
    await exchange.answer(200, headers)


class Upload:
    """One PUT."""

    def __init__(
        self,
        exchange: Exchange,
        ticket: Ticket,
        threads: Threads,
        *,
        clock: Clock,
        transfers: Transfers,
    ) -> None:
        self._exchange = exchange
        self._max_bytes = ticket.upload_bytes
        self._assignment = UUID(ticket.assignment)
        self._threads = threads
        self._clock = clock
        self._transfers = transfers
        self._renewed = time.monotonic()
        self._writing: asyncio.Future[None] | None = None

    async def run(self) -> int:
        """Take the body, count the update, answer; returns how many bytes came.

        Raises PropiusError, Gone, OSError.
        """
        order = read_order(self._exchange.headers)
        opened = await self._threads.rows(lambda: self._open(order))
        if opened is None:
            await self._accepted()
            return 0
        device_id, sink = opened
        try:
            self._check(order, sink)
            told = self._transfers.begin(
                str(self._assignment), "up", done_bytes=sink.offset, size_bytes=sink.size_bytes
            )
            with told as moving:
                await self._receive(sink, moving)
            if sink.offset == sink.size_bytes:
                await self._holding(sink.finish, sink)
        finally:
            if self._writing is not None and not self._writing.done():
                await asyncio.wait([self._writing])  # cancelled, but its thread still writes
            await self._threads.files(sink.close)
        came = sink.offset - order.offset
        if sink.offset < sink.size_bytes:
            # Only now that it is closed: the rest may come at once, and must not find it busy.
            await self._exchange.answer(202, {"upload-offset": str(sink.offset)})
            return came
        await self._count(order, device_id, sink)
        await self._accepted()
        return came

    def _open(self, order: Order) -> tuple[UUID, UploadSink] | None:
        """Return the device and a sink for its bytes; None if the update counts already."""
        if _counted_bytes(self._assignment) is not None:
            return None
        device_id = Assignment.objects.values_list("device_id", flat=True).get(id=self._assignment)
        return device_id, uploads.open_upload(
            assignment_id=self._assignment,
            device_id=device_id,
            digest=order.digest,
            size_bytes=order.size_bytes,
            max_bytes=self._max_bytes,
        )

    def _check(self, order: Order, sink: UploadSink) -> None:
        if order.offset != sink.offset:
            raise OffsetMismatch(order.offset, sink.offset)
        announced, left = self._exchange.announced or 0, sink.size_bytes - sink.offset
        if announced > left:
            raise uploads.UpdateRefused(
                "too_large",
                f"the body has {announced} bytes; {left} are left of the {sink.size_bytes}",
                errors={"Content-Length": f"{announced}; at most {left} are allowed"},
            )

    async def _receive(self, sink: UploadSink, moving: Moving) -> None:
        """Take the body: while one part is hashed and written, the next one comes."""
        pieces: list[bytes] = []
        size, pace = 0, Pace()
        try:
            while not self._exchange.is_read:
                piece = await pace.piece(self._exchange)
                pieces.append(piece)
                size += len(piece)
                moving.reached(moving.done_bytes + len(piece))
                if size >= blobs.CHUNK_BYTES:
                    await self._write(sink, pieces)
                    pieces, size = [], 0
                await self._renew(sink)
        finally:
            # Also what came before the connection broke: the rest is asked for after it.
            await self._write(sink, pieces)
            await self._written()

    async def _write(self, sink: UploadSink, pieces: list[bytes]) -> None:
        await self._written()
        work = functools.partial(_append, sink, pieces)
        self._writing = asyncio.ensure_future(self._threads.files(work))

    async def _written(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def _holding(self, work: Callable[[], None], sink: UploadSink) -> None:
        """Check and fsync, which may take longer than a lease."""
        self._writing = asyncio.ensure_future(self._threads.files(work))
        while not self._writing.done():
            await asyncio.wait([self._writing], timeout=knobs.get().lease_s / 3)
            await self._renew(sink)
        self._writing.result()

    async def _renew(self, sink: UploadSink) -> None:
        """Keep the lease of an upload that moves. Raises RoundClosed, AssignmentOver."""
        if time.monotonic() - self._renewed < knobs.get().lease_s / 3:
            return
        self._renewed = time.monotonic()
        told = Progress(self._assignment, "uploading", sink.offset / sink.size_bytes)
        # Without its database the platform expires no lease either.
        with contextlib.suppress(DatabaseAway):
            await self._threads.rows(lambda: self._tell(told))

    def _tell(self, told: Progress) -> None:
        if jobs.services.renew(progress=[told], now=self._clock()):
            _counted_bytes(self._assignment)

    async def _count(self, order: Order, device_id: UUID, sink: UploadSink) -> None:
        try:
            await self._threads.rows(
                lambda: services.accept_update(
                    assignment_id=self._assignment,
                    device_id=device_id,
                    digest=order.digest,
                    size_bytes=order.size_bytes,
                    weight=order.weight,
                    metrics=order.metrics,
                    now=self._clock(),
                )
            )
        except DatabaseAway:
            await self._threads.files(sink.put_back)
            raise

    async def _accepted(self) -> None:
        body = wire.encode(wire.Accepted(assignment=str(self._assignment))).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "cache-control": "no-store",
        }
        await self._exchange.answer(200, headers, body)


def _counted_bytes(assignment_id: UUID) -> int | None:
    """Return the size of the update that counts; None while one is wanted here.

    Raises StaleAssignment, RoundClosed, AssignmentOver.
    """
    held = Assignment.objects.filter(id=assignment_id).first()
    if held is None:
        raise jobs.services.StaleAssignment(f"there is no assignment {assignment_id}")
    if held.status == Assignment.Status.BOUND and not jobs.services.is_shut_out(held):
        return None
    counted = Update.objects.filter(assignment_id=assignment_id).first()
    if counted is None:
        if Hold.objects.filter(assignment_id=assignment_id).exists():
            return None  # its leaf seems lost to the device, which sends it here instead
        jobs.services.raise_over(assignment_id, held.device_id)
    return counted.size_bytes


def _append(sink: UploadSink, pieces: list[bytes]) -> None:
    for piece in pieces:
        if piece:
            sink.write(sink.offset, piece)
