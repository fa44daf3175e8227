"""Sends the finished update in chunks within the gateway's credit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from propius import wire
from propius.agent.events import (
    Event,
    Failed,
    StartUpload,
    TransferProgress,
    UploadFailed,
)

CHUNK = 128 * 1024


@dataclass(slots=True)
class _Upload:
    instruction: StartUpload
    credit: int
    granted: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Uploads:
    """The uploads of one connection, each a task that waits for credit.

    Parameters
    ----------
    send_frame
        Sends one binary frame, waiting while the socket is full; raises ``ConnectionError`` when
        it is gone.
    emit
        Takes the events.
    """

    def __init__(
        self, *, send_frame: Callable[[bytes], Awaitable[None]], emit: Callable[[Event], None]
    ) -> None:
        self._send_frame = send_frame
        self._emit = emit
        self._active: dict[int, _Upload] = {}
        self._free = asyncio.Event()
        self._free.set()

    def start(self, instruction: StartUpload, path: Path) -> None:
        """Send the file from the instruction's offset on; a transfer starts only once."""
        transfer = instruction.transfer
        if transfer in self._active:
            return
        self._active[transfer] = one = _Upload(instruction, instruction.credit)
        one.task = asyncio.create_task(self._run(one, path))
        one.task.add_done_callback(lambda _: self._active.pop(transfer, None))

    def credit(self, message: wire.Credit) -> None:
        """Take more credit; for a transfer that has ended it means nothing."""
        one = self._active.get(message.transfer)
        if one is not None:
            one.credit += message.size_bytes
            one.granted.set()

    def hold(self) -> None:
        """Send no more until :meth:`go_on`."""
        self._free.clear()

    def go_on(self) -> None:
        """Send the rest."""
        self._free.set()

    def stop(self, assignment: str | None = None) -> None:
        """Stop the transfers of an assignment, or all."""
        for one in list(self._active.values()):
            if one.task is not None and assignment in (None, one.instruction.assignment):
                one.task.cancel()

    async def _run(self, one: _Upload, path: Path) -> None:
        try:
            with path.open("rb") as file:
                await self._send(one, file, path.stat().st_size)
        except ConnectionError:
            return  # The connection's end is told by its reader.
        except OSError as error:
            text = f"the update cannot be read: {error.strerror or error}"
            self._emit(UploadFailed(one.instruction.transfer, Failed("disk", text)))

    async def _send(self, one: _Upload, file: IO[bytes], size: int) -> None:
        transfer, offset = one.instruction.transfer, one.instruction.offset
        file.seek(offset)
        while offset < size:
            await self._free.wait()
            while one.credit <= 0:
                one.granted.clear()
                await one.granted.wait()
            payload = file.read(min(CHUNK, one.credit))
            one.credit -= len(payload)
            await self._send_frame(wire.pack_chunk(transfer, offset, payload))
            offset += len(payload)
            self._emit(TransferProgress(transfer, offset, size))
