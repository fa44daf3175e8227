"""A connection with the transfers that live on it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection

from propius import wire
from propius.agent.cache import BlobCache
from propius.agent.connection import Connection, Counter
from propius.agent.downloads import Downloads
from propius.agent.events import Deliver, Event, StartDownload, StartUpload
from propius.agent.leaf import LeafTransfers
from propius.agent.spool import Spool
from propius.agent.uploads import Uploads


class OpenLine:
    """An open socket; when it ends, so do its transfers, and the next line goes on from there."""

    def __init__(
        self,
        socket: ClientConnection,
        *,
        cache: BlobCache,
        spool: Spool,
        counter: Counter,
        tls: ssl.SSLContext | None = None,
        on_message: Callable[[wire.FromGateway], None],
        emit: Callable[[Event], None],
    ) -> None:
        self._spool = spool
        self._on_message = on_message
        self.connection = Connection(
            socket, on_message=self._received, on_chunk=self._received_chunk, counter=counter
        )
        self._downloads = Downloads(cache, send=self.connection.send, emit=emit)
        self._uploads = Uploads(send_frame=self.connection.send_frame, emit=emit)
        self._leaf = LeafTransfers(
            cache, spool, counter=counter, tls=tls, emit=emit, fallback=self._downloads.start
        )

    async def run(self) -> None:
        """Serve until either end closes. Raises :class:`wire.ProtocolError`."""
        try:
            await self.connection.run()
        finally:
            self.stop()

    def start(self, transfer: StartDownload | StartUpload | Deliver) -> None:
        """Begin a transfer."""
        if isinstance(transfer, Deliver) or (isinstance(transfer, StartDownload) and transfer.leaf):
            self._leaf.start(transfer)
        elif isinstance(transfer, StartDownload):
            self._downloads.start(transfer)
        else:
            self._uploads.start(transfer, self._spool.update(transfer.assignment))

    def stop(self, assignment: str | None = None) -> None:
        """Stop the transfers of an assignment, or all."""
        self._downloads.stop(assignment)
        self._uploads.stop(assignment)
        self._leaf.stop(assignment)

    def hold(self) -> None:
        """Let transfers rest."""
        self._downloads.hold()
        self._uploads.hold()
        self._leaf.hold()

    def go_on(self) -> None:
        """Let transfers go on."""
        self._downloads.go_on()
        self._uploads.go_on()
        self._leaf.go_on()

    def ends(self) -> tuple[Any, Any] | None:
        """Return the socket's own and its peer's address, None on a line that is no IP."""
        return self.connection.ends()

    def _received(self, message: wire.FromGateway) -> None:
        if isinstance(message, wire.Credit):
            self._uploads.credit(message)
        self._on_message(message)

    def _received_chunk(self, transfer: int, offset: int, payload: memoryview) -> None:
        self._downloads.receive(transfer, offset, payload)
