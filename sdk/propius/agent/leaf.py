"""Moves bytes over HTTP by way of a leaf, where the assignment names one.

Whatever goes wrong there, the session with the gateway is the way that is left: downloads go on
from the bytes that came, and an update is announced to the gateway in any case, which takes it
unless it counts already.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx

from propius.agent.cache import BlobCache
from propius.agent.connection import Counter
from propius.agent.events import (
    Deliver,
    Delivered,
    DownloadFinished,
    Event,
    StartDownload,
    TransferProgress,
)
from propius.agent.spool import Spool, file_digest

log = logging.getLogger(__name__)

CHUNK = 256 * 1024
CONNECT_S = 10.0
SILENT_S = 60.0
Transfer = StartDownload | Deliver


class LeafRefused(Exception):
    """The leaf answers with something else than what was asked for."""


class LeafTransfers:
    """The transfers of one connection that go by a leaf.

    Parameters
    ----------
    counter
        Counts the bytes, for the owner's budget.
    emit
        Takes the events.
    tls
        Which certificates are trusted, if not those that the system trusts.
    fallback
        Begins a download over the session instead.
    """

    def __init__(
        self,
        cache: BlobCache,
        spool: Spool,
        *,
        counter: Counter,
        tls: ssl.SSLContext | None,
        emit: Callable[[Event], None],
        fallback: Callable[[StartDownload], None],
    ) -> None:
        self._cache = cache
        self._spool = spool
        self._counter = counter
        self._tls = tls
        self._emit = emit
        self._fallback = fallback
        self._running: dict[int, tuple[Transfer, asyncio.Task[None]]] = {}
        self._resting: list[Transfer] | None = None

    def start(self, transfer: Transfer) -> None:
        """Begin, now or when transfers go on."""
        if self._resting is not None:
            self._resting.append(transfer)
            return
        task = asyncio.create_task(self._run(transfer))
        self._running[transfer.transfer] = transfer, task
        task.add_done_callback(lambda _: self._running.pop(transfer.transfer, None))

    def stop(self, assignment: str | None = None) -> None:
        """Stop the transfers of an assignment, or all."""
        for transfer, task in list(self._running.values()):
            if assignment in (None, transfer.assignment):
                task.cancel()
        if self._resting is not None:
            kept = [one for one in self._resting if assignment not in (None, one.assignment)]
            self._resting = kept

    def hold(self) -> None:
        """Let transfers rest; what came is kept."""
        if self._resting is None:
            self._resting = [transfer for transfer, _ in self._running.values()]
            for _, task in list(self._running.values()):
                task.cancel()

    def go_on(self) -> None:
        """Let transfers go on."""
        resting, self._resting = self._resting or [], None
        for one in resting:
            self.start(one)

    async def _run(self, transfer: Transfer) -> None:
        failure = ""
        try:
            if isinstance(transfer, StartDownload):
                await self._download(transfer)
            else:
                await self._deliver(transfer)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, LeafRefused) as error:
            failure = str(error) or type(error).__name__
            log.warning("leaf.failed leaf=%s reason=%s", transfer.leaf, failure)
        if isinstance(transfer, Deliver):
            self._emit(Delivered(transfer.transfer))
        elif failure:
            self._fallback(transfer)
        else:
            self._emit(DownloadFinished(transfer.transfer))

    async def _download(self, one: StartDownload) -> None:
        blob = one.blob
        if blob.size_bytes > self._cache.max_bytes:
            raise LeafRefused("more than this device keeps")
        if await asyncio.to_thread(self._cache.find, blob.digest) is not None:
            return
        partial = self._cache.partial(blob.digest)
        done = _size(partial)
        if done > blob.size_bytes:
            partial.unlink()
            done = 0
        if done < blob.size_bytes:
            await self._fetch(one, partial, done)
        found, _ = await asyncio.to_thread(file_digest, partial)
        if found != blob.digest:
            partial.unlink()
            raise LeafRefused(f"the bytes received for {blob.digest} have digest {found}")
        self._cache.admit(blob.digest)

    async def _fetch(self, one: StartDownload, partial: Path, done: int) -> None:
        headers = {"Range": f"bytes={done}-"} if done else {}
        path = f"{one.leaf}/parameters/{one.blob.digest}"
        async with (
            self._client(one) as http,
            http.stream("GET", path, headers=headers) as answer,
        ):
            if answer.status_code != (206 if done else 200):
                raise LeafRefused(f"GET is answered {answer.status_code}")
            with partial.open("ab") as file:
                async for chunk in answer.aiter_bytes(CHUNK):
                    self._counter.received(len(chunk))
                    file.write(chunk)
                    done += len(chunk)
                    if done > one.blob.size_bytes:
                        raise LeafRefused("more bytes than the blob has")
                    self._emit(TransferProgress(one.transfer, done, one.blob.size_bytes))

    async def _deliver(self, one: Deliver) -> None:
        path = self._spool.update(one.assignment)
        result = one.finished
        url = f"{one.leaf}/updates/{one.assignment}"
        headers = {"Upload-Digest": result.digest}
        async with self._client(one) as http:
            head = await http.head(url, headers=headers)
            if head.status_code != 200:
                raise LeafRefused(f"HEAD is answered {head.status_code}")
            offset = int(head.headers.get("Upload-Offset", "0"))
            if head.headers.get("Upload-Complete") == "?1":
                return
            headers |= {
                "Upload-Offset": str(offset),
                "Upload-Length": str(result.size_bytes),
                "Content-Length": str(result.size_bytes - offset),
                "Update-Weight": repr(result.weight),
                "Update-Metrics": json.dumps(result.metrics),
            }
            put = await http.put(url, content=self._body(one, path, offset), headers=headers)
            if put.status_code != 200:
                raise LeafRefused(f"PUT is answered {put.status_code}: {put.text[:200]}")

    async def _body(self, one: Deliver, path: Path, offset: int) -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK):
                yield chunk
                self._counter.sent(len(chunk))
                offset += len(chunk)
                self._emit(TransferProgress(one.transfer, offset, one.finished.size_bytes))

    def _client(self, one: Transfer) -> httpx.AsyncClient:
        # Reading the authorities' certificates is most of the cost of a client.
        trusted = (self._tls or True) if one.leaf.startswith("https:") else False
        return httpx.AsyncClient(
            headers={"Authorization": f"Bearer {one.ticket}"},
            verify=trusted,
            timeout=httpx.Timeout(SILENT_S, connect=CONNECT_S),
        )


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
