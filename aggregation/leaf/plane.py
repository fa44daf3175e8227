"""What a leaf serves to devices: the data plane of the root, on its own disk and by tickets alone.

``GET parameters/{digest}``, ``HEAD`` and ``PUT updates/{assignment}`` as ``docs/protocol.md`` says;
devices cannot tell the two apart.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from aggregation import blobs, incoming, tickets, uploads
from aggregation.leaf import messages, summing
from aggregation.leaf.cache import ParameterCache
from aggregation.leaf.keeper import Keeper
from aggregation.leaf.root import RootAway
from aggregation.tickets import Ticket
from aggregation.transfer import downloads
from aggregation.transfer.exchange import Exchange, Receive, Scope, Send
from aggregation.transfer.plane import BYTES, DataPlane
from aggregation.transfer.threads import Threads
from aggregation.transfer.uploads import Order, Upload, announced_digest
from aggregation.under_way import Transfers
from aggregation.uploads import UploadSink, Wanted
from core.errors import Conflict

T = TypeVar("T")
NOBODY = UUID(int=0)
SPARE_BYTES = 64 << 20
"""Of the disk, left free for notes and sums: the rest may be updates."""


class NotTakenHere(Conflict):
    """Devices send this update to the root."""

    code = "not_taken_here"


class LeafThreads(Threads):
    """As the root's, without a database."""

    async def rows(self, work: Callable[[], T]) -> T:
        """Run ``work`` on files: there are no rows here."""
        return await self.files(work)


class LeafPlane(DataPlane):
    """The leaf's ASGI application."""

    def __init__(self, cache: ParameterCache, keeper: Keeper, threads: Threads) -> None:
        super().__init__(_nothing_here, clock=lambda: datetime.now(UTC))
        super().stop()
        self.keys: tickets.PublicKeys = {}
        self._threads = threads
        self.transfers = Transfers(connect=None)
        self._cache = cache
        self._keeper = keeper

    def moving(self) -> messages.Transfers:
        """Return what to tell the root of transfers; once, for each that has ended."""
        found, ended = self.transfers.take()
        told: messages.Transfers = dict.fromkeys(ended) | dict(found)
        return dict(itertools.islice(told.items(), messages.TRANSFERS_MAX))

    async def _serve(self, exchange: Exchange) -> None:
        if not self.keys:
            raise RootAway("this leaf has not reached its root yet")
        await super()._serve(exchange)

    async def _ask_desk(self, exchange: Exchange, name: str) -> None:
        await exchange.answer(404, {"content-length": "0"})

    def _verified(self, ticket: str) -> Ticket:
        return tickets.verify(ticket, now=self._clock(), keys=self.keys)

    async def _transfer(self, exchange: Exchange, kind: str, name: str, ticket: Ticket) -> None:
        text = exchange.headers["authorization"].split(" ", 1)[1].strip()
        if kind == "parameters":
            await self._cache.ensure(name, text)
            sent = await downloads.serve(
                exchange, name, self._threads,
                assignment=ticket.assignment, transfers=self.transfers,
            )  # fmt: skip
            BYTES.labels("down").inc(sent)
        elif exchange.method == "HEAD":
            await self._begun(exchange, ticket)
        else:
            recipe = await self._keeper.recipe(ticket.round)
            if not recipe.take:
                raise NotTakenHere("updates of an asynchronous job go to the root; send it there")
            upload = LeafUpload(
                exchange, ticket, self._threads, clock=self._clock, transfers=self.transfers,
                text=text, recipe=recipe, keeper=self._keeper,
            )  # fmt: skip
            BYTES.labels("up").inc(await upload.run())

    async def _begun(self, exchange: Exchange, ticket: Ticket) -> None:
        digest = announced_digest(exchange)
        is_whole = self._keeper.has(ticket.assignment)
        identifier = UUID(ticket.assignment)
        offset = await self._threads.files(
            lambda: incoming.size(assignment_id=identifier, digest=digest)
        )
        headers = {
            "cache-control": "no-store",
            "upload-complete": "?1" if is_whole else "?0",
            "upload-offset": str(offset),
            "upload-limit": f"max-size={ticket.upload_bytes}",
        }
        await exchange.answer(200, headers)


class LeafUpload(Upload):
    """One PUT: the root's checks, then the leaf's note, and the root's leave to acknowledge."""

    def __init__(
        self,
        exchange: Exchange,
        ticket: Ticket,
        threads: Threads,
        *,
        clock: Callable[[], datetime],
        transfers: Transfers,
        text: str,
        recipe: messages.Recipe,
        keeper: Keeper,
    ) -> None:
        super().__init__(exchange, ticket, threads, clock=clock, transfers=transfers)
        self._round = ticket.round
        self._ticket = text
        self._recipe = recipe
        self._keeper = keeper

    async def run(self) -> int:
        """See :class:`Upload`."""
        digest = self._exchange.headers.get("upload-digest", "")
        with self._keeper.arriving(digest):
            return await super().run()

    def _open(self, order: Order) -> tuple[UUID, UploadSink] | None:
        if self._keeper.has(str(self._assignment)):
            return None
        _refuse_if_full(order.size_bytes)
        found = Wanted(self._assignment, summing.wanted(self._recipe), self._recipe.codecs)
        sink = uploads.open_sink(
            found,
            digest=order.digest,
            size_bytes=order.size_bytes,
            max_bytes=self._max_bytes,
        )
        return NOBODY, sink

    async def _renew(self, sink: UploadSink) -> None:
        """The device keeps its lease itself, by progress over its session."""

    async def _count(self, order: Order, device_id: UUID, sink: UploadSink) -> None:
        said = messages.Update(
            assignment=str(self._assignment),
            ticket=self._ticket,
            digest=order.digest,
            size_bytes=order.size_bytes,
            weight=order.weight,
            metrics=order.metrics,
        )
        await self._keeper.take(self._round, said)


def _refuse_if_full(size_bytes: int) -> None:
    """Raise StorageFull before a byte is taken that could not be kept."""
    free = shutil.disk_usage(blobs.store().root).free
    if free < size_bytes + SPARE_BYTES:
        raise blobs.StorageFull("this leaf's disk is full, nothing was kept; send it elsewhere")


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"application/problem+json")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    body = {"title": "Not Found", "status": 404, "detail": "A leaf serves /data/v1/ only."}
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
