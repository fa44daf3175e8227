"""A browser page's socket, against the real ASGI application. (Channels' own needs daphne.)"""

import asyncio
from importlib import import_module

from django.conf import settings
from django.test import Client

from propius_site import asgi

WAIT_S = 30.0
"""Far above what anything takes: it only ends a test that has failed."""


class Socket:
    """One websocket; a wait that times out leaves the application alone."""

    def __init__(self, address: str, *, cookie: str = "", origin: str = "http://127.0.0.1") -> None:
        path, _, query = address.partition("?")
        headers = [(b"origin", origin.encode()), (b"host", b"127.0.0.1")]
        if cookie:
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
        self.scope = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": [],
        }
        self.to_app: asyncio.Queue[dict] = asyncio.Queue()
        self.from_app: asyncio.Queue[dict] = asyncio.Queue()

    async def connect(self) -> bool:
        self.task = asyncio.create_task(asgi.web(self.scope, self.to_app.get, self.from_app.put))
        await self.to_app.put({"type": "websocket.connect"})
        return (await self._next())["type"] == "websocket.accept"

    async def receive(self) -> str:
        message = await self._next()
        assert message["type"] == "websocket.send", message
        return message["text"]

    async def receive_nothing(self, *, timeout: float) -> bool:
        await asyncio.sleep(timeout)
        return self.from_app.empty()

    async def closed(self) -> int:
        message = await self._next()
        assert message["type"] == "websocket.close", message
        return message["code"]

    async def disconnect(self) -> None:
        await self.to_app.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, WAIT_S)

    async def _next(self) -> dict:
        return await asyncio.wait_for(self.from_app.get(), WAIT_S)


class Page:
    """The socket of a page of a user who is signed in."""

    def __init__(self, user, address: str) -> None:
        browser = Client()
        browser.force_login(user)
        cookie = browser.cookies[settings.SESSION_COOKIE_NAME].value
        self.session = import_module(settings.SESSION_ENGINE).SessionStore(cookie)
        self.socket = Socket(address, cookie=cookie)

    async def __aenter__(self) -> Socket:
        assert await self.socket.connect()
        return self.socket

    async def __aexit__(self, *_) -> None:
        await self.socket.disconnect()
