"""No request body beyond what its path takes, in front of Django, which puts all of it on disk.

Django's ASGI handler spools a body before anybody looks at the request, so without this a stranger
could fill the disk.
"""

from __future__ import annotations

import json
from typing import Any

from core import knobs
from propius_site.health import Application, Receive, Scope, Send

SMALL_BYTES = 4 << 20
"""Above what Django reads into memory, so that its own, kinder answers come first."""


class WithBodyLimit:
    """Answer 413 as soon as a body is announced or grows too large."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        body = _Body(receive, send, limit_of(scope["path"]))
        if announced(scope) > body.limit:
            await body.refuse()
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

    async def receive(self) -> Any:
        if not self._is_refused:
            message = await self._receive()
            self._size += len(message.get("body", b""))
            if self._size <= self.limit:
                return message
            await self.refuse()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if not self._is_refused:
            await self._send(message)

    async def refuse(self) -> None:
        self._is_refused = True
        problem = {
            "title": "This is too large",
            "status": 413,
            "code": "too_large",
            "detail": f"The body may have at most {self.limit} bytes here.",
        }
        headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
        await self._send({"type": "http.response.start", "status": 413, "headers": headers})
        await self._send({"type": "http.response.body", "body": json.dumps(problem).encode()})


def limit_of(path: str) -> int:
    """Return how many bytes a body to ``path`` may have."""
    uploads = {
        "/api/v1/parameters": knobs.get().max_parameters_bytes,
        "/api/v1/programs": knobs.get().max_program_bytes,
    }
    return max(SMALL_BYTES, uploads.get(path.rstrip("/"), 0))


def announced(scope: Scope) -> int:
    """Return the body's size as its header says, 0 if it does not."""
    size = dict(scope["headers"]).get(b"content-length", b"")
    return int(size) if size.isdigit() and len(size) < 20 else 0
