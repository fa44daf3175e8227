"""One exchange of one-shot mode: a device's words in one request, and what they are answered.

For phones in background and batch clusters, which hold no socket. A visit is a connection like any
other, with the same session, so that all rules are the same; only its frames come in one body and
its answers leave in one, and then it ends. What the device holds stays its own, as after a broken
websocket, and its next visit finds it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from clients import software
from core import connections, knobs
from gateway import events as ev
from gateway.binder import REDIS_AWAY
from gateway.consumer import Connection
from gateway.limits import pace
from gateway.states import State
from propius import wire

if TYPE_CHECKING:
    from gateway.hub import Hub

PATIENCE_S = 20.0
BUSY = frozenset({State.OPENED, State.VERIFYING, State.BINDING, State.REPORTING})
"""States in which an answer is still to come."""
BYTES_GO_ELSEWHERE = (wire.Download, wire.Upload, wire.Credit)


class Page:
    """Takes what the connection says, in order; see :class:`gateway.sockets.Shortcut`."""

    def __init__(self) -> None:
        self.on_frame: Callable[[str | bytes], None] | None = None
        self.lines: list[str] = []

    def write(self, text: str) -> bool:
        """Keep a line."""
        self.lines.append(text)
        return True


class Visit(Connection):
    """Serves one request; ``known`` is told the device once it has proved its key."""

    __slots__ = ("_asked", "_known", "_page", "_stirred")

    def __init__(self, hub: Hub, *, known: Callable[[str], bool]) -> None:
        self._page = Page()
        super().__init__(hub, _nothing, _away, self._page)
        self._known = known
        self._asked = False
        self._stirred = asyncio.Event()

    async def serve(self, nonce: str, lines: Sequence[bytes]) -> list[wire.FromGateway]:
        """Answer a hello and the words after it.

        The signature is over the nonce and the digest of all words, so that nobody on the way can
        put others in their place.
        """
        hello, *words = lines
        said = hashlib.sha256(b"\n".join(words)).hexdigest()
        try:
            async with asyncio.timeout(PATIENCE_S):
                self.feed(ev.Opened(f"{nonce} {said}"))
                self._frame(hello.decode())
                await self._quiet()
                if not self.is_closed and not self._known(self.device):
                    self.fault("rate_limited", "too many visits; hold a websocket, or come less")
                for word in words:
                    await self._say(word.decode())
                await self._keep_offer()
        except UnicodeDecodeError:
            self.fault("bad_frame", "a line is not UTF-8")
        except TimeoutError:
            self.feed(ev.ComeBackLater(pace(0, 1.0), "busy", "this gateway is slow now"))
        except REDIS_AWAY:
            self.feed(ev.ComeBackLater(pace(0, 1.0), "unavailable", "Redis is away"))
        finally:
            self._end()
        # All but the challenge, which an earlier answer gave.
        return self._told([wire.decode_from_gateway(line) for line in self._page.lines[1:]])

    def feed(self, event: ev.Event) -> None:
        """See :class:`Connection`; wakes who waits for quiet."""
        super().feed(event)
        self._stirred.set()

    async def _say(self, word: str) -> None:
        if self.is_closed:
            return
        message = _read(word)
        if isinstance(message, BYTES_GO_ELSEWHERE):
            name = message.__struct_config__.tag
            self.fault("out_of_order", f"{name}: in one-shot mode bytes go by the data plane")
            return
        if isinstance(message, wire.Choose):
            self._asked = True  # too late for its offer, a socket would hear nothing
            await self._recall_offer()
        self._frame(word)
        await self._quiet()

    async def _quiet(self) -> None:
        """Wait until nothing is under way for this device."""
        while True:
            self._stirred.clear()
            if self.session.state not in BUSY and not self.looking:
                await self.settled()
                if not self._stirred.is_set():
                    return
            else:
                await self._stirred.wait()

    # --- offers outlive the visit -------------------------------------------------------------

    async def _keep_offer(self) -> None:
        offer = self.session.offer
        if self.session.state is State.CHOOSING and offer is not None:
            life_ms = max(1, round(offer.answer_s * 1000))
            await self.hub.redis.set(self._offer_key(), wire.encode(offer), px=life_ms)

    async def _recall_offer(self) -> None:
        found = await self.hub.redis.getdel(self._offer_key())
        if found is not None and self.session.state is State.FREE:
            self.feed(ev.Offered(msgspec.json.decode(found, type=wire.Offer), is_told=True))

    def _offer_key(self) -> str:
        return f"{connections.PREFIX}offer:{self.device}"

    def _told(self, messages: list[wire.FromGateway]) -> list[wire.FromGateway]:
        """Say when to come back to whom a socket would let wait, or answer nothing."""
        told: list[wire.FromGateway] = [one for one in messages if not isinstance(one, wire.Idle)]
        answers = [one for one in told if not _is_notice(one)]
        waits = len(told) < len(messages) or (self._asked and len(answers) == 1)
        if waits and isinstance(answers[-1], wire.Welcome):
            after_s = knobs.get().visit_s * random.uniform(0.8, 1.2)
            text = "no round for this device now"
            told.append(wire.Retry(after_s=round(after_s, 1), code="idle", message=text))
        return told


def _is_notice(message: wire.FromGateway) -> bool:
    return isinstance(message, wire.Refused) and message.code in software.NOTICES


def _read(word: str) -> wire.FromDevice | None:
    try:
        return wire.decode_from_device(word)
    except wire.ProtocolError:
        return None  # the session says what is wrong with it


def status_of(messages: Sequence[wire.FromGateway]) -> int:
    """Return the HTTP status that says the same as the messages."""
    for one in messages:
        if isinstance(one, wire.Retry) and one.code != "idle":
            return 503
        if isinstance(one, wire.Refused) and (one.fatal or one.code == "stale_nonce"):
            return _STATUSES.get(one.code, 400)
    return 200


_STATUSES = {
    "stale_nonce": 409, "session_replaced": 409, "device_unknown": 401, "bad_signature": 401,
    "device_revoked": 403, "rate_limited": 429, "too_long": 413, "internal_error": 500,
}  # fmt: skip


def wait_of(messages: Sequence[wire.FromGateway]) -> int | None:
    """Return for how many seconds a ``Retry-After`` asks."""
    waits = [math.ceil(one.after_s) for one in messages if isinstance(one, wire.Retry)]
    return waits[-1] if waits else None


async def _nothing() -> dict[str, Any]:
    return {"type": "websocket.disconnect"}


async def _away(_: Any) -> None:
    return None  # closing has no meaning here
