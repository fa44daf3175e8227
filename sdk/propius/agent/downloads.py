"""Receives blobs in chunks within a credit window, resumes them, and checks their digests."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from propius import wire
from propius.agent.cache import BlobCache
from propius.agent.events import (
    DownloadFinished,
    Event,
    Failed,
    StartDownload,
    TransferProgress,
)

RETURN_CREDIT = wire.WINDOW // 4
"""Credit goes back in quarters of the window, so that it costs few messages and no stall."""


@dataclass(slots=True)
class _Download:
    """One transfer: its open file, how far it is, bytes whose credit is still to be returned.

    Bytes are written as they come, so a gateway that sends beyond its credit is held back by the
    socket alone, and harms nobody.
    """

    instruction: StartDownload
    file: IO[bytes]
    done: int
    hasher: Any
    taken: int = field(default=0)


class Downloads:
    """The downloads of one connection; closing it leaves the partial files for the next."""

    def __init__(
        self,
        cache: BlobCache,
        *,
        send: Callable[[wire.Message], None],
        emit: Callable[[Event], None],
    ) -> None:
        self._cache = cache
        self._send = send
        self._emit = emit
        self._active: dict[int, _Download] = {}
        self._opening: dict[int, tuple[str, asyncio.Task[None]]] = {}
        self._held = False

    def start(self, instruction: StartDownload) -> None:
        """Begin, or find the blob in the cache."""
        task = asyncio.create_task(self._open(instruction))
        self._opening[instruction.transfer] = instruction.assignment, task
        task.add_done_callback(lambda _: self._opening.pop(instruction.transfer, None))

    def receive(self, transfer: int, offset: int, payload: memoryview) -> None:
        """Take a chunk.

        Raises
        ------
        wire.ProtocolError
            Not the next bytes, or more than the blob has. A chunk of a transfer that has ended
            here is no error: it was on its way.
        """
        one = self._active.get(transfer)
        if one is None:
            return
        blob, size = one.instruction.blob, len(payload)
        if offset != one.done or one.done + size > blob.size_bytes:
            raise wire.ProtocolError(
                f"transfer {transfer}: {size} bytes at {offset}; expected the bytes at {one.done} "
                f"of {blob.size_bytes}"
            )
        try:
            one.file.write(payload)
        except OSError as error:
            self._end(one, _disk(error))
            return
        one.hasher.update(payload)
        one.done += size
        one.taken += size
        if one.done == blob.size_bytes:
            self._complete(one)
            return
        self._emit(TransferProgress(transfer, one.done, blob.size_bytes))
        if one.taken >= RETURN_CREDIT and not self._held:
            self._return_credit(one)

    def fail(self, transfer: int, error: Failed) -> None:
        """End a transfer that the platform refuses."""
        one = self._active.get(transfer)
        if one is not None:
            self._end(one, error)

    def hold(self) -> None:
        """Take no more than what is under way, at most a window, until :meth:`go_on`."""
        self._held = True

    def go_on(self) -> None:
        """Return the credit that was held back."""
        self._held = False
        for one in self._active.values():
            if one.taken:
                self._return_credit(one)

    def _return_credit(self, one: _Download) -> None:
        transfer = one.instruction.transfer
        self._send(wire.Credit(transfer=transfer, size_bytes=one.taken))
        one.taken = 0

    def stop(self, assignment: str | None = None) -> None:
        """Stop the transfers of an assignment, or all."""
        for owner, task in list(self._opening.values()):
            if assignment in (None, owner):
                task.cancel()
        for transfer, one in list(self._active.items()):
            if assignment in (None, one.instruction.assignment):
                del self._active[transfer]
                one.file.close()

    async def _open(self, instruction: StartDownload) -> None:
        blob, transfer = instruction.blob, instruction.transfer
        if blob.size_bytes > self._cache.max_bytes:
            text = f"{blob.size_bytes} bytes; this device keeps at most {self._cache.max_bytes}"
            self._emit(DownloadFinished(transfer, Failed("too_large", text)))
            return
        try:
            if await asyncio.to_thread(self._cache.find, blob.digest) is not None:
                self._emit(DownloadFinished(transfer))
                return
            partial = self._cache.partial(blob.digest)
            done, hasher = await asyncio.to_thread(_resume, partial, blob.size_bytes)
            one = _Download(instruction, partial.open("ab"), done, hasher)
        except OSError as error:
            self._emit(DownloadFinished(transfer, _disk(error)))
            return
        self._active[transfer] = one
        if done == blob.size_bytes:
            self._complete(one)
            return
        self._send(
            wire.Download(
                assignment=instruction.assignment,
                transfer=transfer,
                digest=blob.digest,
                offset=done,
            )
        )

    def _complete(self, one: _Download) -> None:
        blob = one.instruction.blob
        if one.hasher.hexdigest() != blob.digest:
            text = f"the bytes received for {blob.digest} have digest {one.hasher.hexdigest()}"
            self._end(one, Failed("digest_mismatch", text))
            return
        try:
            one.file.close()
            self._cache.admit(blob.digest)
        except OSError as error:
            self._end(one, _disk(error))
            return
        self._end(one, None)

    def _end(self, one: _Download, error: Failed | None) -> None:
        transfer = one.instruction.transfer
        self._active.pop(transfer, None)
        # Closing flushes, and a full disk shows once more.
        with contextlib.suppress(OSError):
            one.file.close()
        if error is not None:
            self._cache.partial(one.instruction.blob.digest).unlink(missing_ok=True)
        self._emit(DownloadFinished(transfer, error))


def _resume(partial: Path, size: int) -> tuple[int, Any]:
    """Return how much of a partial file can be kept, and its hash so far."""
    hasher = hashlib.sha256()
    try:
        done = partial.stat().st_size
    except FileNotFoundError:
        return 0, hasher
    if done > size:
        os.truncate(partial, 0)
        done = 0
    if done == 0:
        return 0, hasher
    with partial.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return done, hasher


def _disk(error: OSError) -> Failed:
    return Failed("disk", f"the device's disk: {error.strerror or error}")
