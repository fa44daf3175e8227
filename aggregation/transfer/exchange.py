"""One HTTP request and its answer over raw ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from core import problems
from core.errors import Conflict, PropiusError, TooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DRAIN_BYTES = 1 << 20
"""What is left of a refused body is read up to this: a reset could swallow the answer."""
DRAIN_S = 5.0


class StorageIsFull(PropiusError):
    """How HTTP names a full disk."""

    status, title = 507, "The platform's disk is full"


class PlatformFault(PropiusError):
    """What was asked for is right, and cannot be served now."""

    status, title = 503, "Try again later"


# Codes that stand for more than their family does elsewhere.
_FAMILIES: dict[str, type[PropiusError]] = {
    "too_large": TooLarge,
    "offset_mismatch": Conflict,
    "upload_busy": Conflict,
    "storage_full": StorageIsFull,
    "blob_missing": PlatformFault,
}


class Gone(Exception):
    """The client has closed the connection."""


class WithHeaders(PropiusError):
    """An error whose answer has headers of its own."""

    headers: Mapping[str, str] = {}


class Exchange:
    """A request, read piece by piece, and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self.is_started = False
        self.is_read = False
        self._receive = receive
        self._send = send

    @property
    def announced(self) -> int | None:
        """The body's size as its header says; None if it does not."""
        return whole(self.headers.get("content-length", ""))

    async def piece(self) -> bytes:
        """Return what came next of the body; the last one sets :attr:`is_read`. Raises Gone."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Gone
        self.is_read = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    async def until_gone(self) -> None:
        """Return when the client has closed the connection."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status and the headers."""
        self.is_started = True
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def send(self, data: bytes, *, more: bool) -> None:
        """Send a part of the body; waits while the client takes none."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a whole answer; a body that is still on its way ends the connection."""
        close = {} if self.is_read or self.has_no_body else {"connection": "close"}
        await self.start(status, {**headers, **close})
        await self.send(body, more=False)

    async def problem(self, error: PropiusError) -> None:
        """Answer with problem+json."""
        await self._drain()
        body = _described(error)
        headers = {
            "content-type": "application/problem+json",
            "cache-control": "no-store",
            **(error.headers if isinstance(error, WithHeaders) else {}),
        }
        if body["status"] == 401:
            headers["www-authenticate"] = (
                f'Bearer realm="propius", error="invalid_token", error_description="{error.code}"'
            )
        if body["status"] in (429, 503) or error.code == "upload_busy":
            headers["retry-after"] = "1"
        text = json.dumps(body).encode()
        headers["content-length"] = str(len(text))
        await self.answer(body["status"], headers, text)

    @property
    def has_no_body(self) -> bool:
        """Whether the request has none, as its headers say."""
        return "transfer-encoding" not in self.headers and not self.announced

    async def _drain(self) -> None:
        if "expect" in self.headers or not 0 < (self.announced or 0) <= DRAIN_BYTES:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while not self.is_read:
                    await self.piece()


def whole(text: str) -> int | None:
    """Return a size or offset from a header, None if it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _described(error: PropiusError) -> dict[str, Any]:
    family = _FAMILIES.get(error.code)
    found = problems.as_problem(error) or {}
    return found | ({"status": family.status, "title": family.title} if family else {})
