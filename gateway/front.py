"""One-shot mode over HTTP, as raw ASGI: ``/device/v1`` beside the websocket of the same path."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway import nonces
from gateway.binder import REDIS_AWAY
from gateway.limits import MAX_VISITS, VISITS_BURST, VISITS_PER_S, Rate, pace
from gateway.visits import Visit, status_of, wait_of
from propius import wire

if TYPE_CHECKING:
    from gateway.hub import Hub

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH = "/device/v1"
NONCE_HEADER = b"propius-nonce"
BODY_TYPE = b"application/x-ndjson"
MAX_BODY = 2 * wire.MAX_CONTROL
MAX_WORDS = 16
REMEMBERED = 50_000
BODY_S = 20.0


class Gone(Exception):
    """The client went before its request was whole."""


class Front:
    """Reads requests, hands them to visits, and writes the answers."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._running = 0
        self._rates: OrderedDict[str, Rate] = OrderedDict()

    async def serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request to :data:`PATH`."""
        method = scope["method"]
        if method in ("GET", "HEAD"):
            await _answer(send, 200, [self._challenge()], is_head=method == "HEAD")
            return
        if method != "POST":
            await _answer(
                send, 405, [_refused("bad_frame", f"{method} is not taken; GET and POST")]
            )
            return
        if self._running >= MAX_VISITS:
            busy = wire.Retry(after_s=pace(MAX_VISITS, 100.0), code="busy", message="many come now")
            await _answer(send, 503, [busy])
            return
        self._running += 1
        try:
            messages = await self._visited(_nonce(scope), receive)
        except Gone:
            return
        finally:
            self._running -= 1
        await _answer(send, status_of(messages), [*messages, self._challenge()])

    async def _visited(self, nonce: str, receive: Receive) -> Sequence[wire.FromGateway]:
        try:
            lines = await _lines(receive)
        except wire.ProtocolError as error:
            return [_refused(error.code, str(error))]
        if not nonces.is_ours(nonce, time.time()):
            return [_stale("Propius-Nonce is missing, not of this platform, or has ended")]
        try:
            fresh = await nonces.spend(self._hub.redis, nonce)
        except REDIS_AWAY:
            text = "a part of the platform is away; nothing is lost"
            return [wire.Retry(after_s=pace(0, 1.0), code="unavailable", message=text)]
        if not fresh:
            return [_stale("the nonce was used before")]
        return await Visit(self._hub, known=self._allows).serve(nonce, lines)

    def _allows(self, device: str) -> bool:
        """Count a visit of a device that has proved its key; False for one too many."""
        rate = self._rates.pop(device, None) or Rate(VISITS_PER_S, VISITS_BURST)
        self._rates[device] = rate
        if len(self._rates) > REMEMBERED:
            self._rates.popitem(last=False)
        return rate.allows(asyncio.get_running_loop().time())

    def _challenge(self) -> wire.Challenge:
        return wire.Challenge(nonce=nonces.issue(time.time()), protocols=list(wire.SUPPORTED))


def _nonce(scope: MutableMapping[str, Any]) -> str:
    """Return the nonce that the hello signs, from its header; empty if there is none."""
    found: bytes = dict(scope["headers"]).get(NONCE_HEADER, b"")
    return found.decode("latin-1")


async def _lines(receive: Receive) -> list[bytes]:
    """Return the lines of the body. Raises ProtocolError, Gone."""
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                more = message.get("more_body", False)
                if size > MAX_BODY:
                    text = f"a body of more than {MAX_BODY} bytes"
                    raise wire.ProtocolError(text, code="too_long")
    except TimeoutError as error:
        raise Gone from error
    lines = b"".join(parts).removesuffix(b"\n").split(b"\n")
    if len(lines) > MAX_WORDS + 1:
        text = f"{len(lines) - 1} words after the hello; at most {MAX_WORDS} are allowed"
        raise wire.ProtocolError(text, code="too_long")
    return lines


def _stale(why: str) -> wire.Refused:
    return wire.Refused(code="stale_nonce", message=f"{why}; sign the one in this answer")


def _refused(code: str, message: str) -> wire.Refused:
    return wire.Refused(code=code, message=message, fatal=True)


async def _answer(
    send: Send, status: int, messages: Sequence[wire.Message], *, is_head: bool = False
) -> None:
    body = "".join(wire.encode(one) + "\n" for one in messages).encode()
    headers = [
        (b"content-type", BODY_TYPE),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    wait_s = wait_of([one for one in messages if isinstance(one, wire.Retry)])
    if wait_s is not None:
        headers.append((b"retry-after", str(wait_s).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else body})
