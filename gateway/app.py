"""The gateway's ASGI application: devices on websockets and over HTTP, and what they share."""

from __future__ import annotations

from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path, re_path

from core import knobs
from gateway import draining, sockets
from gateway.consumer import Connection, Receive
from gateway.front import PATH, Front
from gateway.hub import Hub
from gateway.limits import MAX_SOCKETS, pace
from gateway.line import Send
from gateway.metrics import SOCKETS
from propius import wire

Scope = dict[str, Any]
SOCKETS_PER_S = 100.0
MAX_SIGNING_IN = 1_500
"""Sockets without a device yet; a challenge to more would be answered after its time."""


class Gateway:
    """Builds one :class:`Hub` at start-up, on the loop that serves."""

    def __init__(self) -> None:
        self.hub: Hub | None = None
        self._front: Front | None = None

    async def lifespan(self, _: Scope, receive: Receive, send: Send) -> None:
        """Start and stop with the server."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.hub = Hub()
                self.hub.start()
                self._front = Front(self.hub)
                await send({"type": "lifespan.startup.complete"})
            else:
                if self.hub is not None:
                    await self.hub.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def drain(self) -> None:
        """Send all devices away, as this process ends."""
        if self.hub is not None:
            await draining.drain(self.hub, within_s=knobs.get().drain_s)

    async def device(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one device."""
        hub = self.hub
        assert hub is not None
        await receive()  # websocket.connect
        if wire.SUBPROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            await _say(
                send,
                wire.Refused(
                    code="protocol_unsupported",
                    message=f"ask for the websocket subprotocol {wire.SUBPROTOCOL}",
                    fatal=True,
                ),
                1008,
            )
            return
        await send({"type": "websocket.accept", "subprotocol": wire.SUBPROTOCOL})
        if hub.sockets >= MAX_SOCKETS:
            wait_s = pace(MAX_SOCKETS // 10, SOCKETS_PER_S)
            full = wire.Retry(after_s=wait_s, code="busy", message="this gateway is full")
            await _say(send, full, 1013)
            return
        if hub.sockets - len(hub.registry.devices) >= MAX_SIGNING_IN:
            later = wire.Retry(
                after_s=hub.hellos.turn(), code="busy", message="many devices sign in at once"
            )
            await _say(send, later, 1013)
            return
        most = knobs.get().strangers_per_address
        stranger = hub.strangers.enter(scope, most=most)
        if stranger is None:
            text = f"{most} connections from your address have not said who they are yet"
            crowd = wire.Retry(after_s=hub.hellos.turn(), code="busy", message=text)
            await _say(send, crowd, 1013)
            return
        hub.sockets += 1
        SOCKETS.inc()
        try:
            await Connection(hub, receive, send, sockets.of(scope), stranger).run()
        finally:
            stranger.known()
            hub.sockets -= 1
            SOCKETS.dec()

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; of a device in one-shot mode, or of somebody astray."""
        if scope["path"] == PATH:
            assert self._front is not None
            await self._front.serve(scope, receive, send)
        else:
            await _not_found(send)

    def application(self) -> ProtocolTypeRouter:
        """Return the ASGI application."""
        # Channels routes with Django's paths, whose types know views only.
        device: Any = self.device
        other: Any = _no_such_socket
        routes = [path("device/v1", device), re_path(r"", other)]
        return ProtocolTypeRouter(
            {
                "lifespan": self.lifespan,
                "http": self.http,
                "websocket": URLRouter(routes),
            }
        )


async def _say(send: Send, message: wire.Message, code: int) -> None:
    await send({"type": "websocket.send", "text": wire.encode(message)})
    await send({"type": "websocket.close", "code": code})


async def _no_such_socket(_: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def _not_found(send: Send) -> None:
    headers = [(b"content-type", b"application/problem+json")]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    body = b'{"title": "Not Found", "status": 404, "detail": "Devices connect to /device/v1."}'
    await send({"type": "http.response.body", "body": body})


gateway = Gateway()
application = gateway.application()
