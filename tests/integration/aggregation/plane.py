"""A client of the data plane's ASGI application, without a network."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import jobs.selectors
from aggregation import blobs
from aggregation.models import Update
from aggregation.transfer import DataPlane
from gateway import details
from tenants.scopes import system_scope
from tests.integration.aggregation import worlds
from tests.integration.factories import NOW

DATA = worlds.update(3.0)


async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
    """What is behind the data plane, and must hear nothing of it."""
    raise AssertionError("not the data plane's")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def incoming() -> list[str]:
    """What has begun to come and is not whole."""
    return [path.name for path in blobs.store().incoming.iterdir()]


def updates() -> list[Update]:
    """What counts."""
    with system_scope():
        return list(Update.objects.all())


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    taken: int = 0
    """Bytes of the request's body that the application has asked for."""
    whole: bool = False

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        found: dict[str, Any] = json.loads(self.body)
        assert found["status"] == self.status
        return found

    @property
    def code(self) -> tuple[int, str]:
        return self.status, self.problem["code"]


async def exchange(
    application: Any,
    method: str,
    path: str,
    headers: dict[str, str],
    pieces: Iterable[bytes] = (),
    *,
    breaks: bool = False,
    pause_s: float = 0.0,
) -> Answer:
    """Send a request; ``breaks`` off after the pieces instead of ending the body."""
    answer = Answer()
    left = iter(pieces)
    ended = False
    forever = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal ended
        piece = next(left, None)
        if piece is not None:
            await asyncio.sleep(pause_s)
            answer.taken += len(piece)
            return {"type": "http.request", "body": piece, "more_body": True}
        if breaks:
            return {"type": "http.disconnect"}
        if ended:
            await forever.wait()
        ended = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message["body"]
            answer.whole = not message.get("more_body", False)

    pairs = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    await asyncio.wait_for(application(scope, receive, send), 60)
    return answer


class Client:
    """A device with an assignment and its ticket, as the gateway tells it."""

    def __init__(self, plane: DataPlane, assignment_id: Any) -> None:
        with system_scope():
            row = jobs.selectors.assignment_details([assignment_id])[assignment_id]
        self.plane = plane
        self.assignment = details.assignment(row, now=NOW)
        self.ticket = self.assignment.ticket

    def ask(self, method: str, path: str, *pieces: bytes, **more: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.ticket}", **more.pop("headers", {})}
        how = {name: more.pop(name) for name in ("breaks", "pause_s") if name in more}
        assert not more
        path = f"/data/v1/{path}"
        return asyncio.run(exchange(self.plane, method, path, headers, pieces, **how))

    def get(self, digest: str, method: str = "GET", **headers: str) -> Answer:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(method, f"parameters/{digest}", headers=headers)

    def head(self, data: bytes) -> Answer:
        digest = hashlib.sha256(data).hexdigest()
        return self.ask("HEAD", f"updates/{self.assignment.id}", headers={"Upload-Digest": digest})

    def put(
        self, data: bytes, offset: int = 0, *pieces: bytes, headers: dict[str, str] | None = None,
        to: str = "", **how: Any,
    ) -> Answer:  # fmt: skip
        said = {
            "Upload-Digest": hashlib.sha256(data).hexdigest(),
            "Upload-Length": str(len(data)),
            "Upload-Offset": str(offset),
            "Update-Weight": "2.5",
            "Update-Metrics": '{"loss": 0.5}',
        }
        said |= headers or {}
        path = f"updates/{to or self.assignment.id}"
        return self.ask("PUT", path, *(pieces or (data[offset:],)), headers=said, **how)
