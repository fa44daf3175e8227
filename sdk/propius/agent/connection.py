"""One websocket to the gateway: opening it, reading it, and writing control frames in order."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from propius import __version__, wire

OPEN_S = 10.0
CLOSE_S = 2.0


class AgentStopped(Exception):
    """The agent ends and does not come back by itself; the text says what a person can do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unreachable(Exception):
    """No connection now; trying again makes sense."""


class Backoff:
    """Waits between attempts: doubling, each drawn evenly from half to all of it (jitter)."""

    def __init__(self, *, base_s: float, cap_s: float, rng: random.Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng
        self._failures = 0

    def next(self) -> float:
        """Return the next wait in seconds."""
        full = min(self._cap_s, self._base_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._rng.uniform(full / 2, full)

    def spread(self, after_s: float) -> float:
        """Return a wait that the gateway named, up to a fifth longer so that a crowd spreads."""
        return after_s * self._rng.uniform(1.0, 1.2)

    def reset(self) -> None:
        """Start again from the shortest wait."""
        self._failures = 0


async def open_socket(url: str, tls: ssl.SSLContext | None = None) -> ClientConnection:
    """Connect to a gateway, through the proxy of the environment if it names one.

    ``tls`` says which certificates are trusted, if not those that the system trusts.

    Raises
    ------
    Unreachable
        Nobody answers, or the server says to come back.
    AgentStopped
        Trying again cannot help: no such address, no gateway there, a certificate not trusted.
    """
    secure = {"ssl": tls} if tls is not None and url.startswith("wss:") else {}
    try:
        return await connect(
            url,
            **secure,  # type: ignore[arg-type]
            subprotocols=[wire.SUBPROTOCOL],  # type: ignore[list-item]
            compression=None,  # Weights do not shrink, and zlib costs memory for each socket.
            ping_interval=None,  # The protocol has its own, which both ends count.
            max_size=max(wire.MAX_CONTROL * 4, wire.MAX_CHUNK + wire.CHUNK_HEADER.size),
            max_queue=8,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            user_agent_header=f"propius-python/{__version__}",
        )
    except (OSError, WebSocketException, ValueError) as error:
        raise _judged(url, error) from error


def _judged(url: str, error: Exception) -> AgentStopped | Unreachable:
    """Tell what only a person can mend from what passes."""
    if isinstance(error, InvalidURI | ValueError) and not isinstance(error, ssl.SSLError):
        return AgentStopped(
            "bad_url", f"{url!r} is no gateway's address (ws:// or wss://); enrol the device again"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return AgentStopped(
            "certificate",
            f"the certificate of {url} is not trusted ({error.verify_message}); check the "
            "address and this device's clock, or enrol with --ca FILE of your authority",
        )
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status < 500 and status not in (408, 425, 429):
            return AgentStopped(
                "no_gateway",
                f"{url} answers {status}, not as a Propius gateway; check the server's URL and "
                "enrol again: propius device enrol --url URL --token TOKEN",
            )
        return Unreachable(f"{url} answers {status}")
    if isinstance(error, InvalidHandshake):
        return Unreachable(f"{url} does not complete the handshake: {error}")
    return Unreachable(f"{url} cannot be reached: {error or type(error).__name__}")


class Counter(Protocol):
    """Counts the bytes of frames."""

    def received(self, size_bytes: int) -> None:
        """Count a frame from the gateway."""

    def sent(self, size_bytes: int) -> None:
        """Count a frame to the gateway."""


class Connection:
    """An open socket. ``on_message`` and ``on_chunk`` are called for each frame, in order.

    Either may raise :class:`wire.ProtocolError`, which ends the connection.
    """

    def __init__(
        self,
        socket: ClientConnection,
        *,
        on_message: Callable[[wire.FromGateway], None],
        on_chunk: Callable[[int, int, memoryview], None],
        counter: Counter | None = None,
    ) -> None:
        self._socket = socket
        self._on_message = on_message
        self._on_chunk = on_chunk
        self._counter = counter
        self._outgoing: asyncio.Queue[str | None] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None

    def send(self, message: wire.Message) -> None:
        """Queue a control message; lost silently if the connection is at its end."""
        self._outgoing.put_nowait(wire.encode(message))

    async def send_frame(self, frame: bytes) -> None:
        """Send a binary frame. Raises ``ConnectionError`` when the connection is gone."""
        try:
            await self._socket.send(frame)
        except ConnectionClosed as error:
            raise ConnectionError(str(error)) from error
        if self._counter is not None:
            self._counter.sent(len(frame))

    def close(self) -> None:
        """Close after what is queued; a peer that takes nothing is cut off."""
        self._outgoing.put_nowait(None)
        if self._writer is not None:
            asyncio.get_running_loop().call_later(CLOSE_S, self._writer.cancel)

    def abort(self) -> None:
        """End at once, without a word: the line is dead, or the peer is to see a break."""
        self._socket.transport.abort()

    def ends(self) -> tuple[Any, Any] | None:
        """Return the socket's own and its peer's address, None on a line that is no IP."""
        own, peer = self._socket.local_address, self._socket.remote_address
        return (own, peer) if isinstance(own, tuple) and isinstance(peer, tuple) else None

    async def run(self) -> None:
        """Read and write until either end closes. Raises :class:`wire.ProtocolError`."""
        self._writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        tasks: set[asyncio.Task[Any]] = {reader, self._writer}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(OSError, WebSocketException):
                await self._socket.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in self._socket:
                if self._counter is not None:
                    self._counter.received(len(frame))
                if isinstance(frame, bytes):
                    self._on_chunk(*wire.unpack_chunk(frame))
                else:
                    self._on_message(wire.decode_from_gateway(frame))

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while (text := await self._outgoing.get()) is not None:
                await self._socket.send(text)
                if self._counter is not None:
                    self._counter.sent(len(text))
