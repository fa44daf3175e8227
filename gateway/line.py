"""The sending side of one websocket: a queue bounded in bytes, and a writer while there is work."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
logger = logging.getLogger(__name__)

MAX_QUEUED = 2 * 1024 * 1024
CHUNKS_QUEUED = 512 * 1024
"""Chunks wait outside while this much is queued: a slow device holds little memory."""


class Line:
    """Sends frames in order. ``stuck`` is called if the device does not take what it asked for."""

    __slots__ = ("_at_once", "_closing", "_queue", "_queued", "_room", "_send", "_stuck", "_task")

    def __init__(
        self,
        send: Send,
        stuck: Callable[[], None],
        at_once: Callable[[str], bool] | None = None,
    ) -> None:
        self._send = send
        self._at_once = at_once
        self._stuck = stuck
        self._queue: deque[MutableMapping[str, Any]] = deque()
        self._queued = 0
        self._room: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def text(self, frame: str) -> None:
        """Queue a control frame."""
        is_next = self._task is None and not self._closing
        if is_next and self._at_once is not None and self._at_once(frame):
            return
        if self._queued + len(frame) > MAX_QUEUED:
            self.drop()
            self._stuck()
            return
        self._put({"type": "websocket.send", "text": frame}, len(frame))

    async def chunk(self, frame: bytes) -> None:
        """Queue a binary frame once there is room."""
        while self._queued >= CHUNKS_QUEUED and not self._closing:
            if self._room is None:
                self._room = asyncio.Event()
            self._room.clear()
            await self._room.wait()
        self._put({"type": "websocket.send", "bytes": frame}, len(frame))

    def close(self, code: int) -> None:
        """Close after what is queued."""
        self._put({"type": "websocket.close", "code": code}, 0)
        self._closing = True

    def drop(self) -> None:
        """Forget what is queued: nobody takes it any more."""
        self._closing = True
        self._queue.clear()
        self._queued = 0
        if self._room is not None:
            self._room.set()
        if self._task is not None:
            self._task.cancel()

    def _put(self, frame: MutableMapping[str, Any], size_bytes: int) -> None:
        if self._closing:
            return
        self._queue.append(frame)
        self._queued += size_bytes
        if self._task is None:
            self._task = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._queue:
                frame = self._queue.popleft()
                await self._send(frame)
                self._queued -= len(frame.get("text") or frame.get("bytes") or "")
                if self._room is not None and self._queued < CHUNKS_QUEUED:
                    self._room.set()
        except OSError:
            self._task = None
            self.drop()  # the reader learns of the broken connection by itself
        finally:
            self._task = None
