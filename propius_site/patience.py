"""Connections on which no whole request comes are closed: uvicorn itself waits for ever.

A proxy in front does it too; a server that relies on that is one setting away from standing still,
as each silent connection holds a file descriptor.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from core import knobs


class PatientProtocol(H11Protocol):
    """HTTP on one connection; a request's head must be there within ``request_head_s``.

    The time begins with the connection, and later with the first byte after an answer, so that
    one byte a second ends as silence does. Between requests uvicorn's own limit holds.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self._late is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()
        super().data_received(data)
        if self._is_upgraded() or (self.cycle is not None and not self.cycle.response_complete):
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _is_upgraded(self) -> bool:
        return self.transport.get_protocol() is not self

    def _expect_head(self) -> None:
        self._late = self.loop.call_later(
            knobs.get().request_head_s, self.timeout_keep_alive_handler
        )

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
