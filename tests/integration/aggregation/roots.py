"""A root as a leaf meets it over HTTP, by script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aggregation.leaf.root import Root

Answer = Callable[[str, bytes], Awaitable[tuple[int, bytes]]]


@asynccontextmanager
async def root_that(answer: Answer) -> AsyncIterator[tuple[Root, list[str]]]:
    """A root that answers ``(request, body)`` by ``answer``, and the requests that it has had."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request = " ".join(head.split(" ", 2)[:2]).replace("/data/v1/", "")
        sizes = [one for one in head.lower().splitlines() if one.startswith("content-length:")]
        body = await reader.readexactly(int(sizes[0].split(":")[1]) if sizes else 0)
        asked.append(request)
        status, data = await answer(request, body)
        length = f"Content-Length: {len(data)}\r\nConnection: close"
        writer.write(f"HTTP/1.1 {status} Said\r\n{length}\r\n\r\n".encode() + data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    root = Root(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "token")
    try:
        yield root, asked
    finally:
        await root.close()
        server.close()
