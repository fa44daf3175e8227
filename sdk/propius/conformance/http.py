"""A small HTTP/1.1 server that hands each request to a script and lets it break the line."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

MAX_HEAD = 64 * 1024


class Request:
    """One request; its body is read as the script asks for it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str):
        line, *fields = head.split("\r\n")
        self.method, self.path, _ = line.split(" ", 2)
        pairs = (field.partition(":") for field in fields if field)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self._reader = reader
        self._writer = writer
        self.is_answered = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, chunked or of a known length."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while size := int((await self._reader.readline()).split(b";")[0] or b"0", 16):
                yield await self._reader.readexactly(size)
                await self._reader.readexactly(2)
            await self._reader.readline()
            return
        left = int(self.headers.get("content-length", "0"))
        while left:
            piece = await self._reader.read(min(left, 65_536))
            if not piece:
                raise ConnectionError("the client broke off")
            left -= len(piece)
            yield piece

    async def body(self) -> bytes:
        """Return the whole body."""
        return b"".join([piece async for piece in self.pieces()])

    async def answer(
        self,
        status: int,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        size: int | None = None,
    ) -> None:
        """Answer; ``size`` announces more than is sent, as a line that breaks does."""
        self.is_answered = True
        length = len(body) if size is None else size
        fields = {"content-length": str(length), "connection": "close"} | dict(headers or {})
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode())
        if self.method != "HEAD":
            self._writer.write(body)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def problem(self, status: int, code: str) -> None:
        """Answer with problem+json."""
        body = json.dumps({"title": code, "status": status, "code": code, "detail": code}).encode()
        await self.answer(status, body, {"content-type": "application/problem+json"})

    def abort(self) -> None:
        """Break the line."""
        self.is_answered = True
        self._writer.transport.abort()


Handler = Callable[[Request], Awaitable[Any]]


async def serve(handler: Handler) -> asyncio.Server:
    """Serve on a free port of this machine."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await handler(Request(reader, writer, head.decode("latin-1").rstrip()))
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the client went, or speaks no HTTP: its case ends by its own time
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()

    return await asyncio.start_server(one, "127.0.0.1", 0, limit=MAX_HEAD)


def port_of(server: asyncio.Server) -> int:
    """Return where it listens."""
    return int(server.sockets[0].getsockname()[1])
