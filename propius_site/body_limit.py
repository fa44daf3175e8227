"""No request body beyond what its path takes, or slower than it may be, in front of Django.

Django's ASGI handler spools a body before anybody looks at the request, so without this a stranger
could fill the disk, or hold as many requests open as there are file descriptors.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from core import knobs
from propius_site.health import Application, Receive, Scope, Send

SMALL_BYTES = 4 << 20
"""Above what Django reads into memory, so that its own, kinder answers come first."""


SLOWEST = 1024
"""Bytes a second that a body must come at, once ``request_body_s`` is over."""


class WithBodyLimit:
    """Answer 413 to a body that is announced or grows too large, 408 to one that is too slow."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        body = _Body(receive, send, limit_of(scope["path"]))
        if announced(scope) > body.limit:
            await body.refuse(*body.too_large())
            return
        await self.application(scope, body.receive, body.send)


class _Body:
    """Counts what comes; from the refusal on, the application hears and says nothing more."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self.limit = limit
        self._receive = receive
        self._send = send
        self._size = 0
        self._is_refused = False
        self._is_whole = False
        self._began_at = asyncio.get_running_loop().time()

    async def receive(self) -> Any:
        if not self._is_refused:
            try:
                async with asyncio.timeout_at(self._until()):
                    message = await self._receive()
            except TimeoutError:
                await self.refuse(408, "too_slow", f"{self._size} bytes of the body came in time.")
                return {"type": "http.disconnect"}
            self._is_whole = not message.get("more_body", False)
            self._size += len(message.get("body", b""))
            if self._size <= self.limit:
                return message
            await self.refuse(*self.too_large())
        return {"type": "http.disconnect"}

    def too_large(self) -> tuple[int, str, str]:
        return 413, "too_large", f"The body may have at most {self.limit} bytes here."

    def _until(self) -> float | None:
        if self._is_whole:
            return None  # what comes now is the end of the connection, whenever that is
        return self._began_at + knobs.get().request_body_s + self._size / SLOWEST

    async def send(self, message: Any) -> None:
        if not self._is_refused:
            await self._send(message)

    async def refuse(self, status: int, code: str, detail: str) -> None:
        self._is_refused = True
        title = {408: "This came too slowly", 413: "This is too large"}[status]
        problem = {"title": title, "status": status, "code": code, "detail": detail}
        headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": json.dumps(problem).encode()})


_PARAMETERS = re.compile(r"/api/v1/(jobs/[0-9a-f-]+/)?parameters/?")
_PROGRAMS = re.compile(r"/api/v1/programs/?")


def limit_of(path: str) -> int:
    """Return how many bytes a body to ``path`` may have."""
    if _PARAMETERS.fullmatch(path):
        return max(SMALL_BYTES, knobs.get().max_parameters_bytes)
    if _PROGRAMS.fullmatch(path):
        return max(SMALL_BYTES, knobs.get().max_program_bytes)
    return SMALL_BYTES


def announced(scope: Scope) -> int:
    """Return the body's size as its header says, 0 if it does not."""
    size = dict(scope["headers"]).get(b"content-length", b"")
    return int(size) if size.isdigit() and len(size) < 20 else 0
