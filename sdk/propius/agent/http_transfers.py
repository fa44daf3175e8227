"""Bytes of an assignment over HTTP, opened by its ticket; resumed by offset after any break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from propius import wire
from propius.agent.cache import BlobCache
from propius.agent.connection import Counter, Unreachable
from propius.agent.downloads import Downloads
from propius.agent.events import Event, Failed, StartDownload, TransferProgress
from propius.agent.visits import unreachable
from propius.http_errors import ApiError, error_of

PIECE = 128 * 1024
TRIES = 6
LONGEST_WAIT_S = 8.0
LATER = frozenset({408, 425, 429, 500, 502, 503, 504, 507})


class OverNow(Exception):
    """The platform counts the assignment as over."""


class Transfers:
    """Downloads and uploads of the assignment in hand.

    Parameters
    ----------
    data
        Base URL of the data plane.
    renew
        Asks the gateway for the assignment anew, with a fresh ticket; ``None`` if it is over.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        data: str,
        cache: BlobCache,
        counter: Counter,
        emit: Callable[[Event], None],
        renew: Callable[[], Awaitable[wire.Assignment | None]],
    ) -> None:
        self._client = client
        self._data = data.rstrip("/")
        self._counter = counter
        self._emit = emit
        self._renew = renew
        self.downloads = Downloads(cache, send=self._asked, emit=emit)
        self._free = asyncio.Event()
        self._free.set()
        self._ticket = ""
        self._wanted: asyncio.Queue[wire.Download] = asyncio.Queue()

    def take(self, assignment: wire.Assignment) -> None:
        """Use this assignment's ticket from now on."""
        self._ticket = assignment.ticket

    def start(self, one: StartDownload) -> None:
        """Begin a download, or find the blob in the cache."""
        self.downloads.start(one)

    def hold(self) -> None:
        """Let transfers rest."""
        self._free.clear()

    def go_on(self) -> None:
        """Let them go on."""
        self._free.set()

    async def run(self) -> None:
        """Fetch what is asked for, one after the other. Raises Unreachable, OverNow."""
        while True:
            await self._fetch(await self._wanted.get())

    def _asked(self, message: wire.Message) -> None:
        # Of what downloads say, only the first word means something here: HTTP has no credit.
        if isinstance(message, wire.Download):
            self._wanted.put_nowait(message)

    # --- down ---------------------------------------------------------------------------------

    async def _fetch(self, order: wire.Download) -> None:
        offset, failures = order.offset, 0
        while True:
            began = offset
            try:
                async for piece in self._pieces(order.digest, offset):
                    self.downloads.receive(order.transfer, offset, memoryview(piece))
                    offset += len(piece)
                return
            except (httpx.HTTPError, _Again) as error:
                failures = 0 if offset > began else failures + 1
                await self._rest(failures, error)
            except ApiError as error:
                failed = Failed("download_refused", f"{error.code}: {error.detail}")
                self.downloads.fail(order.transfer, failed)
                return

    async def _pieces(self, digest: str, offset: int) -> AsyncIterator[bytes]:
        headers = self._headers() | ({"Range": f"bytes={offset}-"} if offset else {})
        url = f"{self._data}/parameters/{digest}"
        async with self._client.stream("GET", url, headers=headers) as answer:
            if answer.status_code not in (200, 206):
                await answer.aread()
                raise await self._refused(answer)
            skip = offset if answer.status_code == 200 else 0
            async for piece in answer.aiter_raw(PIECE):
                await self._free.wait()
                self._counter.received(len(piece))
                kept = piece[skip:]
                skip -= len(piece) - len(kept)
                if kept:
                    yield kept

    # --- up -----------------------------------------------------------------------------------

    async def put(self, order: wire.Upload, path: Path) -> wire.Accepted | wire.Refused:
        """Send an update; return what became of it. Raises Unreachable, OverNow, OSError."""
        url, failures = f"{self._data}/updates/{order.assignment}", 0
        last, mismatched = -1, False
        while True:
            try:
                offset = await self._offset(url, order)
                if offset is None:
                    return wire.Accepted(assignment=order.assignment)
                failures = 0 if offset > last else failures
                last = offset
                answer = await self._client.put(
                    url,
                    headers=self._describing(order) | {"Upload-Offset": str(offset)},
                    content=self._body(order, path, offset),
                )
                if answer.status_code == 200:
                    return wire.Accepted(assignment=order.assignment)
                if answer.status_code != 202:
                    raise await self._refused(answer)
            except (httpx.HTTPError, _Again) as error:
                failures += 1
                await self._rest(failures, error)
            except ApiError as error:
                if error.code != "digest_mismatch" or mismatched:
                    return _as_refused(order.assignment, error)
                mismatched = True  # damaged on the way, it may come whole the second time

    async def _offset(self, url: str, order: wire.Upload) -> int | None:
        """Ask where to go on; None if the update counts already."""
        headers = self._headers() | {"Upload-Digest": order.digest}
        answer = await self._client.head(url, headers=headers)
        if answer.status_code == 404 or answer.status_code in LATER | {401}:
            raise await self._refused(answer)
        if answer.status_code != 200:
            # A HEAD has no body to say why; the PUT does.
            return 0
        if answer.headers.get("upload-complete") == "?1":
            return None
        return int(answer.headers.get("upload-offset", "0"))

    async def _body(self, order: wire.Upload, path: Path, offset: int) -> AsyncIterator[bytes]:
        with path.open("rb") as file:
            file.seek(offset)
            while piece := file.read(PIECE):
                await self._free.wait()
                yield piece
                offset += len(piece)
                self._counter.sent(len(piece))
                self._emit(TransferProgress(order.transfer, offset, order.size_bytes))

    def _describing(self, order: wire.Upload) -> dict[str, str]:
        return self._headers() | {
            "Upload-Digest": order.digest,
            "Upload-Length": str(order.size_bytes),
            "Update-Weight": repr(order.weight),
            "Update-Metrics": json.dumps(order.metrics),
        }

    # --- both ---------------------------------------------------------------------------------

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._ticket}"}

    async def _refused(self, answer: httpx.Response) -> Exception:
        """Return what to make of an answer that is no success; a stale ticket is renewed."""
        status = answer.status_code
        error = error_of(answer)
        if status == 401:
            fresh = await self._renew()
            if fresh is None:
                return OverNow()
            self.take(fresh)
            return _Again("the ticket ran out")
        if status in LATER or error.code in ("upload_busy", "offset_mismatch"):
            return _Again(str(error))
        return error

    async def _rest(self, failures: int, error: Exception) -> None:
        """Wait before the next try. Raises Unreachable after many in vain."""
        if failures >= TRIES:
            if isinstance(error, httpx.HTTPError):
                raise unreachable(self._data, error) from error
            raise Unreachable(f"{self._data}: {error}") from error
        await asyncio.sleep(min(LONGEST_WAIT_S, 0.25 * 2.0**failures))


class _Again(Exception):
    """The same request may succeed later."""


def _as_refused(assignment: str, error: ApiError) -> wire.Refused:
    errors: dict[str, Any] = error.errors
    code = error.code if 0 < len(error.code) <= 100 else "error"
    return wire.Refused(
        code=code,
        message=error.detail,
        assignment=assignment,
        errors={str(name): str(text) for name, text in errors.items()},
    )
