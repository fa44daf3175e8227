"""Sockets of live pages: who is it, which topic is it, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any
from uuid import UUID

from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from core.errors import NotFound
from frontend import live
from frontend.asked import LONGEST
from frontend.fragments import Topic
from tenants.access import READ_JOBS, WRITE_JOBS, Principal
from tenants.authentication import SESSION_TENANT, member_of, principal_of

logger = logging.getLogger(__name__)

NOT_ALLOWED, GONE = 4403, 4404
RECHECK_S = 30.0


class PageConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One browser page. ``page`` names what it shows; closes when its member may no longer."""

    page = ""
    topic: Topic | None = None
    watch: asyncio.Task[None] | None = None
    serving: asyncio.Task[None] | None = None
    dropped = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the socket; however it ends, nobody pushes to it afterwards."""
        self.serving = asyncio.current_task()
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            if not self.dropped:
                raise
        finally:
            if self.watch:
                self.watch.cancel()
            if self.topic:
                await live.relay().leave(self.topic, self)

    async def connect(self) -> None:
        """Join the page's topic, or say why not by the close code."""
        principal = await self._principal()
        await self.accept()
        if principal is None:
            await self.close(NOT_ALLOWED)
            return
        self.topic = self._topic(principal)
        try:
            await live.relay().join(self.topic, self)
        except NotFound:
            await self.close(GONE)
            return
        self.watch = asyncio.create_task(self._recheck(principal))

    async def disconnect(self, code: int) -> None:
        """Let :meth:`__call__` end."""
        raise StopConsumer

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Pages do not speak."""

    async def push(self, html: str) -> None:
        """Send sections to the browser."""
        await self.send(text_data=html)

    async def end(self) -> None:
        """What the page shows is gone."""
        await self.close(GONE)

    def drop(self) -> None:
        """End at once: the browser reads nothing, so it would hear no goodbye."""
        self.dropped = True
        if self.serving is not None:
            self.serving.cancel()

    def _topic(self, principal: Principal) -> Topic:
        route: dict[str, Any] = self.scope["url_route"]["kwargs"]
        job_id: UUID | None = route.get("job_id")
        return Topic(
            page=self.page,
            tenant_id=principal.tenant_id,
            job_id=job_id,
            may_write=principal.may(WRITE_JOBS),
            query=self.scope["query_string"].decode("ascii", "replace")[:LONGEST],
        )

    async def _principal(self) -> Principal | None:
        find: Callable[[], Any] = database_sync_to_async(self._find, thread_sensitive=False)
        principal: Principal | None = await find()
        return principal

    def _find(self) -> Principal | None:
        # Read the session anew: the socket outlives a sign-out and a change of roles.
        key = self.scope["session"].session_key
        if not key:
            return None
        request = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
        user = get_user(request)
        if not user.is_authenticated:
            return None
        member = member_of(user, request.session.get(SESSION_TENANT))
        principal = principal_of(member) if member else None
        return principal if principal and principal.may(READ_JOBS) else None

    async def _recheck(self, joined: Principal) -> None:
        while True:
            await asyncio.sleep(RECHECK_S)
            try:
                now = await self._principal()
            except Exception:  # the database may be away; nothing is rendered either until then
                logger.exception("live.recheck_failed", extra={"page": self.page})
                continue
            if now != joined:
                await self.close(NOT_ALLOWED)
                return


class OverviewConsumer(PageConsumer):
    page = "overview"


class JobsConsumer(PageConsumer):
    page = "jobs"


class JobConsumer(PageConsumer):
    page = "job"
