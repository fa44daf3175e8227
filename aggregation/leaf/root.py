"""The leaf's line to the root."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from aggregation import blobs
from aggregation.leaf import messages
from core.errors import PropiusError, Unavailable

T = TypeVar("T")
ANSWER_S = 30.0
CONNECT_S = 3.0
LATER = frozenset({"upload_busy", "offset_mismatch"})
"""Another transfer of the same update is under way: no word on the update itself."""
WORDLESS = "refused"
"""Not of the root, which gives its reasons: of a proxy before it."""


class RootAway(Unavailable):
    """The root does not answer, or not now: what was asked may have happened or not."""


class NotNow(RootAway):
    """The root is there, and this one update has to be offered again; others may go before it."""


class RootRefused(PropiusError):
    """The root's own words, handed on."""

    title = "The platform refuses it"

    def __init__(self, status: int, problem: dict[str, object]) -> None:
        errors = problem.get("errors")
        super().__init__(
            str(problem.get("detail", f"the root answers {status}")),
            errors=errors if isinstance(errors, dict) else {},
        )
        self.status = status
        self.code = str(problem.get("code", WORDLESS))


class Root:
    """Asks the root; every call may be repeated."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/data/v1/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def beat(
        self, load: messages.Load, rounds: Sequence[str], transfers: messages.Transfers
    ) -> messages.Told:
        """Tell that this leaf lives and what moves through it; hear how its rounds stand."""
        said = messages.Beat(load=load, rounds=list(rounds), transfers=transfers)
        return await self._ask("POST", "leaf/beat", messages.Told, said)

    async def recipe(self, round_id: str) -> messages.Recipe:
        """Ask how the updates of a round are written."""
        return await self._ask("GET", f"leaf/rounds/{round_id}", messages.Recipe)

    async def hold(self, round_id: str, updates: Sequence[messages.Update]) -> messages.Held:
        """Ask which updates may be acknowledged."""
        said = messages.Holds(round=round_id, updates=list(updates))
        return await self._ask("POST", "leaf/holds", messages.Held, said)

    async def push(
        self, round_id: str, path: Path, digest: str, batches: Sequence[Sequence[str]]
    ) -> int:
        """Hand over a sum; returns the number that it has at the root."""
        size = {"Content-Length": str(path.stat().st_size)}
        stored = await self._put(f"leaf/partials/{digest}", _chunks(path), size)
        if stored.status_code != 200:
            raise _refusal(stored)
        said = messages.Partial(
            round=round_id, digest=digest, batches=[list(batch) for batch in batches]
        )
        answer = await self._ask("POST", "leaf/partials", messages.Committed, said)
        return answer.number

    async def forward(self, update: messages.Update, path: Path) -> None:
        """Hand over an update as it came, from the first byte on that the root has not got.

        Raises RootAway, NotNow; RootRefused: the root's last word on it; BlobMissing.
        """
        if path.stat().st_size != update.size_bytes:
            raise blobs.BlobMissing(f"blob {update.digest} has not {update.size_bytes} bytes")
        headers = {
            "Upload-Digest": update.digest,
            "Upload-Length": str(update.size_bytes),
            "Update-Weight": repr(update.weight),
            # Escaped: headers are ASCII, and names may be anything.
            "Update-Metrics": json.dumps(update.metrics),
        }
        place = f"leaf/updates/{update.assignment}"
        # Without a body: it says what has come already, of an earlier try or from the device
        # itself, and no refusal is lost in the reset of a connection that is still written to.
        offset = _next_byte(await self._put(place, b"", headers), update)
        if offset is None:
            return
        headers["Upload-Offset"] = str(offset)
        headers["Content-Length"] = str(update.size_bytes - offset)
        answer = await self._put(place, _chunks(path, offset), headers)
        if answer.status_code != 200:
            raise _on_update(answer, offset)

    async def fetch(self, digest: str, ticket: str) -> AsyncGenerator[bytes, None]:
        """Give the bytes of parameters or a program, by the ticket of the device that wants them.

        The leaf's own token opens no download.
        """
        headers = {"Authorization": f"Bearer {ticket}"}
        try:
            async with self._http.stream("GET", f"parameters/{digest}", headers=headers) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    raise _refusal(answer)
                async for chunk in answer.aiter_bytes(blobs.CHUNK_BYTES):
                    yield chunk
        except httpx.HTTPError as error:
            raise _away(error) from error

    async def _ask(
        self, method: str, path: str, kind: type[T], said: msgspec.Struct | None = None
    ) -> T:
        body = None if said is None else msgspec.json.encode(said)
        try:
            answer = await self._http.request(method, path, content=body)
        except httpx.HTTPError as error:
            raise _away(error) from error
        if answer.status_code != 200:
            raise _refusal(answer)
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            # Of a proxy before the root, or of another version: asked again, as any lost answer.
            raise RootAway(f"the root answers {path} with something else: {error}") from error

    async def _put(
        self, path: str, body: bytes | AsyncIterator[bytes], headers: dict[str, str]
    ) -> httpx.Response:
        try:
            return await self._http.put(path, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise _away(error) from error


async def _chunks(path: Path, offset: int = 0) -> AsyncIterator[bytes]:
    for chunk in blobs.read_chunks(path, offset):
        yield chunk


def _next_byte(answer: httpx.Response, update: messages.Update) -> int | None:
    """Return where the root wants the body to begin; None if the update counts already."""
    if answer.status_code == 200:
        return None
    said = answer.headers.get("Upload-Offset", "")
    if answer.status_code not in (202, 409) or not said:
        raise _on_update(answer, 0)
    if not said.isdecimal() or int(said) > update.size_bytes:
        raise NotNow(f"the root wants byte {said[:40]!r} of {update.size_bytes}")
    return int(said)


def _on_update(answer: httpx.Response, offset: int) -> PropiusError:
    """Return what became of an update that was offered from a byte on."""
    error = _refusal(answer)
    if not isinstance(error, RootRefused):
        return error
    # What came before this try was wrong, perhaps, and is gone: next time all is sent.
    is_old = offset > 0 and error.code == "digest_mismatch"
    if is_old or error.code in LATER or error.code == WORDLESS:
        return NotNow(f"the root answers {error.status} {error.code}: {error.detail}")
    return error


def _away(error: httpx.HTTPError) -> RootAway:
    return RootAway(f"the root cannot be reached: {error or type(error).__name__}")


def _refusal(answer: httpx.Response) -> PropiusError:
    try:
        problem = msgspec.json.decode(answer.content, type=dict[str, object])
    except msgspec.DecodeError:
        problem = {}
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        return RootAway(f"the root answers {answer.status_code}: {problem.get('detail', '')}")
    return RootRefused(answer.status_code, problem)
