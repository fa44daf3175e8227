"""/healthz, /readyz and /metrics, in front of the web and the gateway application alike.

Plain ASGI: they answer while the database is away, and the gateway needs no URL configuration.
"""

import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.sync import sync_to_async

from propius_site import environment, metrics, readiness

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

PATHS = ("/healthz", "/readyz", "/metrics")
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class WithHealth:
    """Answer the three paths, hand everything else on."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self.application(scope, receive, send)
        elif scope["path"] == "/healthz":
            await _json(send, 200, {"status": "ok"})
        elif scope["path"] == "/readyz":
            report = await sync_to_async(readiness.report, thread_sensitive=False)()
            await _json(send, 200 if report["status"] == "ready" else 503, report)
        else:
            await _metrics(scope, send)


async def _metrics(scope: Scope, send: Send) -> None:
    if not _may_scrape(scope):
        problem = {
            "title": "Forbidden",
            "status": 403,
            "detail": "Scrape from this machine, or send the bearer token PROPIUS_METRICS_TOKEN.",
        }
        await _json(send, 403, problem, "application/problem+json")
        return
    body = await sync_to_async(metrics.exposition, thread_sensitive=False)()
    await _answer(send, 200, body, METRICS_TYPE)


def _may_scrape(scope: Scope) -> bool:
    """Figures of all tenants together are the operator's business only."""
    token = os.environ.get("PROPIUS_METRICS_TOKEN", "")
    for name, value in scope["headers"]:
        if name == b"authorization" and token:
            return hmac.compare_digest(value, f"Bearer {token}".encode())
    client = scope.get("client")
    return client is not None and environment.is_loopback(client[0])


async def _json(
    send: Send, status: int, body: dict[str, Any], kind: str = "application/json"
) -> None:
    await _answer(send, status, json.dumps(body).encode() + b"\n", kind)


async def _answer(send: Send, status: int, body: bytes, kind: str) -> None:
    headers = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
