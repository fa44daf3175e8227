"""The least that a server of transfers must do: ``python -m benchmarks.bare PORT FOLDER``.

Raw ASGI under uvicorn with the platform's own settings. ``FOLDER/down`` goes out as it is; what
comes in is hashed, written and fsynced before the answer, which is its digest. No tickets, no
credit, no rows, no checks of tensors; and no threads, so it hashes and writes between receiving,
which the platform does beside it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

from propius import wire
from propius_site.serve import MAX_WEBSOCKET_MESSAGE

PIECE = 1 << 20
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Bare:
    """Serves one file, and takes others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET or PUT, or the word ``down`` or a size on a websocket."""
        if scope["type"] == "websocket":
            await self._socket(receive, send)
        elif scope["method"] == "GET":
            await self._get(send)
        else:
            await self._put(receive, send)

    async def _get(self, send: Send) -> None:
        with (self._folder / "down").open("rb", buffering=0) as file:
            size = str(os.fstat(file.fileno()).st_size).encode()
            await send(_start([(b"content-length", size)]))
            while piece := file.read(PIECE):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _put(self, receive: Receive, send: Send) -> None:
        with _Taken(self._folder) as taken:
            more = True
            while more:
                message = await receive()
                taken.write(message.get("body", b""))
                more = message.get("more_body", False)
            digest = taken.finish().encode()
        await send(_start([(b"content-length", str(len(digest)).encode())]))
        await send({"type": "http.response.body", "body": digest})

    async def _socket(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": wire.SUBPROTOCOL})
        while (message := await receive())["type"] == "websocket.receive":
            if message["text"] == "down":
                with (self._folder / "down").open("rb", buffering=0) as file:
                    while piece := file.read(wire.MAX_CHUNK):
                        await send({"type": "websocket.send", "bytes": piece})
                continue
            size = int(message["text"])
            with _Taken(self._folder) as taken:
                while taken.size_bytes < size:
                    taken.write((await receive())["bytes"])
                await send({"type": "websocket.send", "text": taken.finish()})


class _Taken:
    """A file that comes in."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def __enter__(self) -> _Taken:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def finish(self) -> str:
        os.fsync(self._file.fileno())
        return self._hash.hexdigest()


def _start(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": headers}


def main(port: int, folder: Path) -> None:
    """Serve until SIGTERM."""
    uvicorn.run(
        Bare(folder), host="127.0.0.1", port=port, loop="uvloop", ws="websockets-sansio",
        ws_max_size=MAX_WEBSOCKET_MESSAGE, ws_per_message_deflate=False, lifespan="off",
        access_log=False, server_header=False, log_config=None,
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
