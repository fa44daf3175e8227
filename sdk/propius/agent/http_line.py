"""A line to the gateway without a socket: words go by visits, bytes by the data plane.

To the agent it looks like :class:`propius.agent.open_line.OpenLine`, so that one session serves
both modes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from propius import wire
from propius.agent.cache import BlobCache
from propius.agent.connection import Counter, Unreachable
from propius.agent.events import (
    Deliver,
    Delivered,
    Event,
    Failed,
    StartDownload,
    StartUpload,
    UploadFailed,
)
from propius.agent.http_transfers import OverNow, Transfers
from propius.agent.spool import Spool
from propius.agent.visits import Visits

STALE = frozenset({"round_closed", "assignment_over", "stale_assignment"})
"""Refusals after which there is nothing to give back."""


class HttpLine:
    """One agent's exchanges until its day's work is done, or the network is gone.

    Parameters
    ----------
    asks
        Whether to check in with the first visit: false while a result waits to be sent.
    """

    def __init__(
        self,
        visits: Visits,
        *,
        data: str,
        asks: bool,
        cache: BlobCache,
        spool: Spool,
        counter: Counter,
        on_message: Callable[[wire.FromGateway], None],
        emit: Callable[[Event], None],
    ) -> None:
        self.connection = self
        self.is_done = False
        self._visits = visits
        self._asks = asks
        self._spool = spool
        self._on_message = on_message
        self._emit = emit
        self._words: asyncio.Queue[wire.Message | None] = asyncio.Queue()
        self._transfers = Transfers(
            visits.client, data=data, cache=cache, counter=counter, emit=emit, renew=self._renew
        )
        self._putting: asyncio.Task[None] | None = None
        self._held = ""
        self._broken: BaseException | None = None

    # --- what the agent asks of a line --------------------------------------------------------

    def send(self, message: wire.Message) -> None:
        """Queue a word."""
        self._words.put_nowait(message)

    def close(self) -> None:
        """End after what is queued."""
        self._words.put_nowait(None)

    def abort(self) -> None:
        """End; there is no socket to break."""
        self.close()

    def start(self, transfer: StartDownload | StartUpload | Deliver) -> None:
        """Begin a download; uploads begin with the word that announces them."""
        if isinstance(transfer, StartDownload):
            self._transfers.start(transfer)
        elif isinstance(transfer, Deliver):
            # No way by a leaf here: the update goes to the platform's own data plane.
            loop = asyncio.get_running_loop()
            loop.call_soon(self._emit, Delivered(transfer.transfer))

    def stop(self, assignment: str | None = None) -> None:
        """Stop the transfers of an assignment, or all."""
        self._transfers.downloads.stop(assignment)
        if self._putting is not None and assignment in (None, self._held):
            self._putting.cancel()

    def hold(self) -> None:
        """Let transfers rest."""
        self._transfers.hold()

    def go_on(self) -> None:
        """Let transfers go on."""
        self._transfers.go_on()

    def ends(self) -> tuple[Any, Any] | None:
        """Return nothing: each request may take another way."""
        return None

    async def run(self) -> None:
        """Serve until the work is done or the network gone.

        Raises as :meth:`propius.agent.visits.Visits.say`, and :class:`wire.ProtocolError`.
        """
        talking = asyncio.create_task(self._talk())
        fetching = asyncio.create_task(self._transfers.run())
        tasks: set[asyncio.Task[None]] = {talking, fetching}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            try:
                task.result()
            except OverNow:
                self._over()
        if self._broken is not None:
            raise self._broken

    # --- words --------------------------------------------------------------------------------

    async def _talk(self) -> None:
        self._on_message(await self._visits.challenge())
        while (word := await self._words.get()) is not None:
            match word:
                case wire.Hello():
                    await self._greet()
                case wire.CheckIn():
                    # The one assignment of this run is over, or it found that it is.
                    self.is_done = True
                    return
                case wire.Ping():
                    self._on_message(wire.Pong())
                case wire.Upload():
                    self._putting = asyncio.create_task(self._put(word))
                    self._putting.add_done_callback(self._put_ended)
                case _:
                    await self._visit(word)

    async def _greet(self) -> None:
        """Sign in, and ask for work in the same breath; the session asks after the welcome."""
        words = [wire.CheckIn()] if self._asks else []
        messages = await self._visits.say(*words)
        if self._asks and _resumed(messages) is not None:
            # The platform remembers what this device has forgotten: its check-in does not count.
            messages = messages[:1]
        elif self._asks and messages and isinstance(messages[0], wire.Welcome):
            self._on_message(messages.pop(0))
            self._drop_check_in()
        self._hear(messages)

    async def _visit(self, word: wire.Message) -> None:
        messages = await self._visits.say(word)
        if messages and isinstance(messages[0], wire.Welcome):
            messages.pop(0)
        self._hear(messages)

    def _hear(self, messages: list[wire.FromGateway]) -> None:
        for one in messages:
            if isinstance(one, wire.Assignment):
                self._take(one)
            elif isinstance(one, wire.Welcome) and one.resume is not None:
                self._take(one.resume)
            self._on_message(one)

    def _take(self, assignment: wire.Assignment) -> None:
        self._held = assignment.id
        self._transfers.take(assignment)

    def _drop_check_in(self) -> None:
        kept = []
        while not self._words.empty():
            word = self._words.get_nowait()
            if not isinstance(word, wire.CheckIn):
                kept.append(word)
        for word in kept:
            self._words.put_nowait(word)

    # --- updates ------------------------------------------------------------------------------

    async def _put(self, order: wire.Upload) -> None:
        try:
            path = self._spool.update(order.assignment)
            answer = await self._transfers.put(order, path)
            if isinstance(answer, wire.Refused) and answer.code not in STALE:
                # Over HTTP a refused update leaves the slot to the device, which has no other.
                fail = wire.Fail(
                    assignment=order.assignment, code=answer.code, message=answer.message[:500]
                )
                await self._visits.say(fail)
            self._on_message(answer)
        except OverNow:
            self._over()
        except Unreachable:
            self.close()
        except OSError as error:
            text = f"the update cannot be read: {error.strerror or error}"
            self._emit(UploadFailed(order.transfer, Failed("disk", text)))

    def _put_ended(self, task: asyncio.Task[None]) -> None:
        """End the line with what nobody waits for: no word would come any more."""
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()
            self.close()

    async def _renew(self) -> wire.Assignment | None:
        resumed = _resumed(await self._visits.say())
        return resumed if resumed is not None and resumed.id == self._held else None

    def _over(self) -> None:
        text = "its lease ran out or its round closed"
        self._on_message(
            wire.Cancelled(assignment=self._held, code="assignment_over", message=text)
        )


def _resumed(messages: list[wire.FromGateway]) -> wire.Assignment | None:
    with contextlib.suppress(IndexError):
        first = messages[0]
        return first.resume if isinstance(first, wire.Welcome) else None
    return None
