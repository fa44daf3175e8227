"""One device's websocket, as raw ASGI: input and output only. ``gateway.session`` decides.

See docs/adr/0002-gateway-raw-asgi.md for why this is no Channels consumer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any

from clients.software import Notice
from core import knobs
from core.ids import uuid7
from gateway import events as ev
from gateway import hellos
from gateway.doing import DOING
from gateway.downloads import Downloads
from gateway.idle import UNTRIED
from gateway.limits import (
    ATTRIBUTES_BURST,
    ATTRIBUTES_PER_S,
    CLOSE_S,
    HELLO_S,
    MESSAGES_BURST,
    MESSAGES_PER_S,
    Rate,
)
from gateway.line import Line, Send
from gateway.session import Session
from gateway.sockets import Shortcut
from gateway.states import State
from gateway.strangers import Stranger
from gateway.threads import BROKEN
from gateway.timers import Timers
from gateway.uploads import Upload
from jobs.constraints import Profile
from propius import wire

if TYPE_CHECKING:
    from gateway.hub import Hub

logger = logging.getLogger(__name__)
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

NOBODY = Profile({}, {}, "")


class Connection:
    """Feeds frames to the session, and carries out what it says."""

    __slots__ = (
        "_events",
        "_feeding",
        "_gathered",
        "_gave_up",
        "_moves",
        "_rate",
        "_reader",
        "_receive",
        "_socket",
        "changes",
        "device",
        "downloads",
        "hub",
        "line",
        "looking",
        "notice",
        "pool_id",
        "profile",
        "profile_key",
        "pushed",
        "sdk",
        "session",
        "session_id",
        "signature",
        "stranger",
        "timers",
        "tried",
        "upload",
    )

    def __init__(
        self,
        hub: Hub,
        receive: Receive,
        send: Send,
        socket: Shortcut | None = None,
        stranger: Stranger | None = None,
    ) -> None:
        self.hub = hub
        self.stranger = stranger or Stranger()
        self._receive = receive
        self._socket = socket
        self.line = Line(send, self._stuck, None if socket is None else socket.write)
        self.session_id = str(uuid7())
        self.session = Session(self.session_id, ping_s=knobs.get().ping_s)
        self.downloads = Downloads(self.line, hub.threads, self.fault, hub.transfers)
        self.upload: Upload | None = None
        self.device = ""
        self.pool_id = ""
        self.sdk = ""
        self.notice: Notice | None = None
        self.profile = NOBODY
        self.profile_key = ""
        self.signature = ""
        self.tried = UNTRIED
        self.pushed = False
        self.looking = 0
        self.changes = Rate(ATTRIBUTES_PER_S, ATTRIBUTES_BURST)
        self._events: deque[ev.Event] = deque()
        self._feeding = False
        self._gave_up = False
        self._moves: asyncio.Task[None] | None = None
        self._gathered: asyncio.Future[None] | None = None
        self._rate = Rate(MESSAGES_PER_S, MESSAGES_BURST)
        self._reader: asyncio.Task[None] | None = None
        self.timers = Timers()

    # --- reading ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the websocket, which has been accepted, until it closes."""
        self._reader = asyncio.current_task()
        late = ev.Faulted("hello_timeout", f"no hello within {HELLO_S:g} s")
        self.timers.set("hello", HELLO_S, self.feed, late)
        self.feed(ev.Opened(secrets.token_hex(32)))
        if self._socket is not None:
            self._socket.on_frame = self._frame
        try:
            while True:
                frame = await self._receive()
                if frame["type"] == "websocket.disconnect":
                    break
                text = frame.get("text")
                self._frame(frame["bytes"] if text is None else text)
        except asyncio.CancelledError:
            if not self._gave_up:
                raise  # else it is our own doing: the device did not let the socket close
        finally:
            self._end()

    def _frame(self, frame: str | bytes) -> None:
        if self.session.state is State.CLOSED:
            return
        try:
            if isinstance(frame, bytes):
                self.feed(ev.ChunkReceived(*wire.unpack_chunk(frame)))
                return
            if not self._rate.allows(asyncio.get_running_loop().time()):
                self.fault("rate_limited", "too many messages a second")
                return
            self.feed(ev.Received(wire.decode_from_device(frame)))
        except wire.ProtocolError as error:
            self._malformed(frame, error)

    def _malformed(self, text: str | bytes, error: wire.ProtocolError) -> None:
        if isinstance(text, str) and self.session.state is State.OPENED:
            spoken = hellos.spoken_protocol(text)
            if spoken is not None and spoken not in wire.SUPPORTED:
                supported = ", ".join(map(str, wire.SUPPORTED))
                self.fault(
                    "protocol_unsupported",
                    f"protocol {spoken} is not spoken here; supported: {supported}",
                )
                return
        self.fault(error.code, str(error))

    # --- doing --------------------------------------------------------------------------------

    def feed(self, event: ev.Event) -> None:
        """Let the session know of ``event``, and do what it says.

        What is done may have events of its own at once: they wait their turn.
        """
        self._events.append(event)
        if self._feeding:
            return
        self._feeding = True
        try:
            while self._events:
                for instruction in self.session.handle(self._events.popleft()):
                    DOING[type(instruction)](self, instruction)
        finally:
            self._feeding = False

    def fault(self, code: str, message: str) -> None:
        """End the session for something out of the session's sight."""
        self.feed(ev.Faulted(code, message))

    def sign(self) -> None:
        """Take the signature that the groups give; software that may get nothing meets none."""
        if not self.profile_key or self.is_closed:
            return  # its hello is being answered, which signs; or its profile may be forgotten
        signature = "" if self.is_barred else self.hub.signer.sign(self.profile_key)
        if signature != self.signature:
            self.hub.idle.move(self, signature)

    def introduce(self, profile: Profile) -> None:
        """Take these attributes, and the signature that they give."""
        self.profile_key, self.profile = self.hub.profiled(profile)
        self.sign()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside the dispatch; it outlives the connection."""
        return self.hub.spawn(self._watched(work))

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            # The edge: the device must not wait for ever for an answer that died here.
            logger.exception("gateway.task_failed", extra={"device": self.device})
            self.fault(*BROKEN)

    def move(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work``, which moves rows of this device, after all such work before it."""
        self._moves = self.spawn(_after(self._unsettled(), work))

    def moves_with(self, gathered: asyncio.Future[None]) -> None:
        """Note that rows of this device are moved with others by the time this ends."""
        self._gathered = gathered

    async def settled(self) -> None:
        """Wait until the moves of rows have ended."""
        earlier = self._unsettled()
        if earlier:
            await asyncio.wait(earlier)

    def _unsettled(self) -> list[asyncio.Future[None]]:
        both = (self._moves, self._gathered)
        return [one for one in both if one is not None and not one.done()]

    @property
    def is_barred(self) -> bool:
        """Tell whether the device gets no work for its software's sake."""
        return self.notice is not None and self.notice.bars

    @property
    def is_closed(self) -> bool:
        """Tell whether the session has ended."""
        return self.session.state is State.CLOSED

    @property
    def is_moving(self) -> bool:
        """Tell whether a result of this device is being counted."""
        return self._moves is not None and not self._moves.done()

    def close(self, code: int) -> None:
        """Close after what has been sent; a device that does not take it is cut off."""
        self._release(keep=True)
        self.line.close(code)
        self.timers.set("close", CLOSE_S, self._give_up)

    # --- ending -------------------------------------------------------------------------------

    def _stuck(self) -> None:
        logger.info("gateway.device_stuck", extra={"device": self.device})
        self.feed(ev.Disconnected())
        self._give_up()

    def _give_up(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._gave_up = True
            self._reader.cancel()

    def _end(self) -> None:
        self.feed(ev.Disconnected())
        self._release(keep=True)
        self.line.drop()
        if self._socket is not None:
            self._socket.on_frame = None
        self._reader = None

    def _release(self, *, keep: bool) -> None:
        """Let go of everything that names this connection."""
        self.timers.stop_all()
        self.stop_transfers(keep=keep)
        self.hub.idle.remove(self)
        self.hub.registry.leave(self)
        held = self.session.assignment
        if held is not None:
            self.hub.registry.release(held.id, self)

    def stop_transfers(self, *, keep: bool) -> None:
        """End transfers; ``keep`` what was uploaded, to be resumed."""
        self.downloads.stop()
        if self.upload is not None:
            self.upload.stop(keep=keep)
            self.upload = None


async def _after(earlier: list[asyncio.Future[None]], work: Coroutine[Any, Any, None]) -> None:
    if earlier:
        await asyncio.wait(earlier)
    await work
