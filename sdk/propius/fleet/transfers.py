"""Downloads of a virtual device: every byte comes over the wire, one copy is kept for all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from propius import wire
from propius.agent.downloads import RETURN_CREDIT
from propius.agent.events import (
    DownloadFinished,
    Event,
    Failed,
    StartDownload,
    TransferProgress,
)
from propius.fleet.shelf import Shelf

REMEMBERED = 4
"""Blobs that a device counts as cached: the program, and the parameters of late."""


@dataclass(slots=True)
class _Download:
    instruction: StartDownload
    hasher: Any
    kept: bytearray | None
    done: int = 0
    taken: int = 0


class Downloads:
    """The downloads of one virtual device, at the pace of its link.

    Parameters
    ----------
    real_s
        Tells how long this many bytes take on the link, in real seconds.
    """

    __slots__ = ("_active", "_cached", "_emit", "_real_s", "_send", "_shelf")

    def __init__(
        self,
        shelf: Shelf,
        *,
        send: Callable[[wire.Message], None],
        emit: Callable[[Event], None],
        real_s: Callable[[int], float],
    ) -> None:
        self._shelf = shelf
        self._send = send
        self._emit = emit
        self._real_s = real_s
        self._active: dict[int, _Download] = {}
        self._cached: list[str] = []

    def start(self, one: StartDownload) -> None:
        """Begin, unless this device has the blob."""
        digest = one.blob.digest
        if digest in self._cached and digest in self._shelf:
            asyncio.get_running_loop().call_soon(self._emit, DownloadFinished(one.transfer))
            return
        kept = None if digest in self._shelf else bytearray()
        self._active[one.transfer] = _Download(one, hashlib.sha256(), kept)
        self._send(wire.Download(assignment=one.assignment, transfer=one.transfer, digest=digest))

    def stop(self, assignment: str | None = None) -> None:
        """Forget the transfers of an assignment, or all."""
        for transfer, one in list(self._active.items()):
            if assignment in (None, one.instruction.assignment):
                del self._active[transfer]

    def receive(self, transfer: int, offset: int, payload: memoryview) -> None:
        """Take a chunk. Raises :class:`wire.ProtocolError` as the agent's own downloads do."""
        one = self._active.get(transfer)
        if one is None:
            return
        size = one.instruction.blob.size_bytes
        if offset != one.done or one.done + len(payload) > size:
            raise wire.ProtocolError(f"transfer {transfer}: {len(payload)} bytes at {offset}")
        one.hasher.update(payload)
        if one.kept is not None:
            one.kept += payload
        one.done += len(payload)
        one.taken += len(payload)
        if one.done == size or one.taken >= RETURN_CREDIT:
            # A slow link is one that takes its time: its credit comes back late.
            wait_s = self._real_s(one.taken)
            asyncio.get_running_loop().call_later(wait_s, self._take, one, one.taken)
            one.taken = 0

    def _take(self, one: _Download, size_bytes: int) -> None:
        order = one.instruction
        if self._active.get(order.transfer) is not one:
            return
        if one.done < order.blob.size_bytes:
            self._emit(TransferProgress(order.transfer, one.done, order.blob.size_bytes))
            self._send(wire.Credit(transfer=order.transfer, size_bytes=size_bytes))
            return
        del self._active[order.transfer]
        self._emit(DownloadFinished(order.transfer, self._checked(one)))

    def _checked(self, one: _Download) -> Failed | None:
        digest, found = one.instruction.blob.digest, one.hasher.hexdigest()
        if found != digest:
            return Failed("digest_mismatch", f"the bytes received for {digest} have {found}")
        if one.kept is not None:
            self._shelf.put(digest, bytes(one.kept))
        self._cached = [*self._cached[1 - REMEMBERED :], digest]
        return None
