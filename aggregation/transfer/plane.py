"""The ASGI application of ``/data/v1/``: who may do what, and how its errors are told."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import prometheus_client
from django.utils import timezone

from aggregation import tickets
from aggregation.tickets import Ticket
from aggregation.transfer import downloads, uploads
from aggregation.transfer.exchange import (
    Exchange,
    Gone,
    PlatformFault,
    Receive,
    Scope,
    Send,
    WithHeaders,
)
from aggregation.transfer.leaf_desk import LeafDesk
from aggregation.transfer.threads import Threads
from aggregation.under_way import Transfers
from core.errors import NotFound, PropiusError, TooMany

logger = logging.getLogger(__name__)

PREFIX = "/data/v1/"
METHODS_OF = {"parameters": "GET, HEAD", "updates": "HEAD, PUT"}
"""Of what a ticket opens; what a leaf asks below ``leaf/`` is opened by its token."""
MAX_AT_ONCE = 4
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BYTES = prometheus_client.Counter(
    "propius_data_bytes", "Bytes of tensors and programs moved over HTTP", ["direction"]
)


class TooManyTransfers(TooMany):
    """More at once than one assignment needs."""

    code = "too_many_transfers"


class StorageFailed(PlatformFault):
    """The disk has a fault."""

    code = "storage_failed"


class BrokenHere(PropiusError):
    """A fault of the platform's own."""

    code = "internal_error"


class MethodNotAllowed(WithHeaders):
    """The path is right and the method is not."""

    code, status, title = "method_not_allowed", 405, "This path does not take the method"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{method} is not taken here; {allowed} are")
        self.headers = {"allow": allowed}


class DataPlane:
    """Serve transfers, hand everything else on."""

    def __init__(self, application: Application, *, clock: uploads.Clock = timezone.now) -> None:
        self._application = application
        self._clock = clock
        self._threads = Threads()
        self._transfers = Transfers()
        self._desk = LeafDesk(self._threads, clock=clock, transfers=self._transfers)
        self._running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await self._answer(Exchange(scope, receive, send))
        else:
            await self._application(scope, receive, send)

    def stop(self) -> None:
        """End the threads; for tests, a process ends its own."""
        self._threads.stop()

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._serve(exchange)
        except (Gone, TimeoutError):
            pass  # nobody listens; a download that stalled is cut off by the server
        except PropiusError as error:
            await self._refuse(exchange, error)
        except OSError as error:
            logger.error("data.storage_failed", extra={"reason": str(error)})
            await self._refuse(exchange, StorageFailed("the disk has a fault; come back later"))
        except Exception:
            # The edge of the process: the device gets an answer, the log the fault.
            logger.exception("data.failed")
            await self._refuse(exchange, BrokenHere("a fault of the platform's own; try again"))

    async def _refuse(self, exchange: Exchange, error: PropiusError) -> None:
        if exchange.is_started:
            return  # too late for another status; the server cuts the connection
        with suppress(Gone):
            await exchange.problem(error)

    async def _serve(self, exchange: Exchange) -> None:
        kind, _, name = exchange.path.removeprefix(PREFIX).partition("/")
        if kind == "leaf":
            await self._ask_desk(exchange, name)
            return
        allowed = METHODS_OF.get(kind)
        if allowed is None or not name or "/" in name:
            raise NotFound(f"{PREFIX}parameters/DIGEST and {PREFIX}updates/ASSIGNMENT are here")
        if exchange.method not in allowed.split(", "):
            raise MethodNotAllowed(exchange.method, allowed)
        ticket = self._verified(_bearer(exchange))
        if kind == "parameters":
            ticket.check_download(name)
        else:
            ticket.check_upload(name)
        with self._counted(ticket):
            await self._transfer(exchange, kind, name, ticket)

    async def _ask_desk(self, exchange: Exchange, name: str) -> None:
        BYTES.labels("up").inc(await self._desk.serve(exchange, name, _bearer(exchange)))

    def _verified(self, ticket: str) -> Ticket:
        return tickets.verify(ticket, now=self._clock())

    async def _transfer(self, exchange: Exchange, kind: str, name: str, ticket: Ticket) -> None:
        if kind == "parameters":
            sent = await downloads.serve(
                exchange, name, self._threads,
                assignment=ticket.assignment, transfers=self._transfers,
            )  # fmt: skip
            BYTES.labels("down").inc(sent)
        elif exchange.method == "HEAD":
            await uploads.begun(exchange, ticket, self._threads)
        else:
            upload = uploads.Upload(
                exchange, ticket, self._threads, clock=self._clock, transfers=self._transfers
            )
            BYTES.labels("up").inc(await upload.run())

    @contextmanager
    def _counted(self, ticket: Ticket) -> Iterator[None]:
        if self._running[ticket.assignment] >= MAX_AT_ONCE:
            raise TooManyTransfers(f"at most {MAX_AT_ONCE} transfers of an assignment at once")
        self._running[ticket.assignment] += 1
        try:
            yield
        finally:
            self._running[ticket.assignment] -= 1
            if not self._running[ticket.assignment]:
                del self._running[ticket.assignment]


def _bearer(exchange: Exchange) -> str:
    scheme, _, ticket = exchange.headers.get("authorization", "").partition(" ")
    return ticket.strip() if scheme.lower() == "bearer" else ""
