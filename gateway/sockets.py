"""The server's side of a websocket, with a short way for what devices say all the time.

uvicorn's protocol makes an object of each frame and puts it in a queue that wakes a task, and
stops and starts the reading of the socket around it: 60 to 90 µs a message. Here a whole, unbroken
frame goes straight to the connection, and a text straight to the transport. All else (handshake,
pings, fragments, faults, closing) stays uvicorn's and websockets' business.

The application finds this object as ``scope["extensions"]["propius.socket"]``; under another
server it is not there, and plain ASGI messages do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the wheel's extension
    from websockets.utils import apply_mask

EXTENSION = "propius.socket"
TEXT, BINARY = 0x81, 0x82
MAX_FRAGMENTS = 1024
"""Of one message. Empty ones count for no size, and would fill the memory all the same."""
_CONTROL = frozenset((0x88, 0x89, 0x8A))


class Shortcut(Protocol):
    """What takes texts at once, past ASGI, and hands over frames as they come."""

    on_frame: Callable[[str | bytes], None] | None

    def write(self, text: str) -> bool:
        """Send a text at once; False if it must wait its turn, through ASGI."""
        ...


class DeviceSocket(WebSocketsSansIOProtocol):
    """One websocket. ``on_frame`` takes texts and bytes as they come, once it is set."""

    on_frame: Callable[[str | bytes], None] | None = None
    _is_plain = False
    """Frames may be read here: websockets' own reader stands at the boundary of one."""
    _part = b""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[Any, Any] = self.scope["extensions"] or {}
            extensions[EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        if self._is_plain:
            self._read(self._part + data if self._part else data)
        elif self.handshake_initiated:
            super().data_received(data)  # it spoke too early, or in a way that is not ours
        else:
            super().data_received(data)
            # Nothing behind the request's end: the next byte begins a frame.
            self._is_plain = self.handshake_initiated and data.endswith(b"\r\n\r\n")

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self._refuse(CloseCode.MESSAGE_TOO_BIG, f"more than {MAX_FRAGMENTS} fragments")
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                # uvicorn would log it as a fault of its own, as often as a device likes.
                self._refuse(CloseCode.INVALID_DATA, "a text that is not UTF-8")
                return
        super().send_receive_event_to_app()

    def _refuse(self, code: CloseCode, why: str) -> None:
        self.frames = []
        self.conn.fail(code, why)
        self.handle_parser_exception()

    def _read(self, data: bytes) -> None:
        at, end = 0, len(data)
        while end - at >= 2:
            first, size = data[at], data[at + 1] - 0x80
            start = at + 2
            if size == 126:
                if end - at < 4:
                    break
                size, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif size == 127:
                if end - at < 10:
                    break
                size, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            after = start + 4 + size
            is_message = first in (TEXT, BINARY)
            if size < 0 or size > self.config.ws_max_size or not (is_message or first in _CONTROL):
                # Unmasked, too long, in fragments or wrong: from here on it is not ours.
                self._is_plain, self._part = False, b""
                super().data_received(data[at:])
                return
            if after > end:
                break
            if is_message:
                payload = apply_mask(data[start + 4 : after], data[start : start + 4])
                self._message(first == TEXT, payload)
            else:
                super().data_received(data[at:after])
            at = after
        self._part = data[at:]

    def _message(self, is_text: bool, payload: bytes) -> None:
        if self.on_frame is None or not self.queue.empty() or self.close_sent:
            self._hand_over(is_text, payload)
            return
        if not is_text:
            self.on_frame(payload)
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._hand_over(is_text, payload)
        else:
            self.on_frame(text)

    def _hand_over(self, is_text: bool, payload: bytes) -> None:
        if self.conn.close_rcvd is not None:
            return  # it has said that it says no more
        self.curr_msg_data_type = "text" if is_text else "bytes"
        self.frames = [payload]
        self.send_receive_event_to_app()

    async def send(self, message: ASGISendEvent) -> None:
        await self.writable.wait()
        if self.transport.is_closing():
            # For a fault of the device, or want of a pong: uvicorn would call it the application's.
            raise ClientDisconnected
        await super().send(message)

    def write(self, text: str) -> bool:
        """Send a text at once; False if it must wait its turn, through ASGI."""
        if self.close_sent or self.transport.is_closing() or not self.writable.is_set():
            return False
        payload = text.encode()
        size = len(payload)
        if size < 126:
            head = bytes((TEXT, size))
        elif size < 65_536:
            head = b"\x81\x7e" + size.to_bytes(2)
        else:
            return False
        self.transport.write(head + payload)
        return True


def of(scope: Any) -> DeviceSocket | None:
    """Return the socket behind an ASGI scope, if the server is ours."""
    found: DeviceSocket | None = scope.get("extensions", {}).get(EXTENSION)
    return found
