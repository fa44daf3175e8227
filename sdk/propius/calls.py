"""HTTP calls to the platform's REST API: one that is lost on the way is made again."""

from __future__ import annotations

import contextlib
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import httpx

from propius import __version__
from propius.http_errors import ApiError, error_of, unreachable

Json = dict[str, Any]
TIMEOUT_S = 60.0
BLOCK = 1 << 20
RETRIED = (429, 502, 503, 504)
FIRST_S, LONGEST_S = 0.25, 10.0
LONGEST_ASKED_S = 120.0
"""A server that asks for a longer pause than this is given up on: its answer says what is up."""
FEW, MANY = 4, 10
"""Times that a call is made again: some 4 s of waiting, and about a minute where people wait."""


class Calls:
    """Makes calls with one token, or another proof of who asks.

    Safe to repeat: every POST carries an ``Idempotency-Key``.
    Connections that fail, and the statuses 429, 502, 503 and 504, are tried again after a pause
    that doubles, with jitter; ``Retry-After`` is waited out.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        auth: httpx.Auth | None = None,
        retries: int = FEW,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._retries = retries
        self._sleep = sleep
        try:
            self.http = httpx.Client(
                base_url=self.url + "/api/v1/",
                headers={
                    **({"Authorization": f"Bearer {token}"} if auth is None else {}),
                    "User-Agent": f"propius-python/{__version__}",
                },
                auth=auth,
                timeout=TIMEOUT_S,
                transport=transport,
            )
        except httpx.InvalidURL as error:
            raise unreachable(url, error) from error
        except UnicodeEncodeError as error:
            raise ApiError(
                0, "bad_token", "the token holds characters that no token has"
            ) from error

    def get(self, path: str, *, params: Mapping[str, Any] | None = None, retries: int = 0) -> Json:
        """Return the JSON that a path answers."""
        return self._object(self._answered("GET", path, lambda: {"params": params}, retries))

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> Json:
        """Send JSON; the same ``key`` and body give the same answer."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        options = {"headers": headers} if body is None else {"headers": headers, "json": body}
        return self._object(self._answered("POST", path, lambda: options))

    def upload(self, path: str, source: str | Path | bytes) -> Json:
        """Send a file, as a path or as bytes."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Idempotency-Key": str(uuid.uuid4()),
        }
        if isinstance(source, bytes):
            options = {"headers": headers, "content": source}
            return self._object(self._answered("POST", path, lambda: options))
        with open(source, "rb") as file:
            headers["Content-Length"] = str(os.path.getsize(source))

            def again() -> dict[str, Any]:
                file.seek(0)
                return {"headers": headers, "content": _blocks(file)}

            return self._object(self._answered("POST", path, again))

    def pages(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Json]:
        """Yield what a list holds, page by page."""
        page = self.get(path, params=params)
        while True:
            yield from page["results"]
            if not page.get("next"):
                return
            page = self.get(page["next"])

    def save(self, path: str, target: Path) -> None:
        """Save the file at a path; a half file is never left there."""
        draft = target.with_name(target.name + ".part")
        try:
            with self.stream(path) as answer, draft.open("wb") as file:
                for block in answer.iter_bytes(BLOCK):
                    file.write(block)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    @contextlib.contextmanager
    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Iterator[httpx.Response]:
        """Open an answer that is read bit by bit; not made again here."""
        try:
            # A file's answer is the file, or points to where the data plane has it.
            with self.http.stream(
                "GET", path, headers=dict(headers or {}), follow_redirects=True, **options
            ) as answer:
                if not answer.is_success:
                    answer.read()
                    raise error_of(answer)
                yield answer
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(self.url, error) from error

    def _answered(
        self, method: str, path: str, options: Callable[[], Json], retries: int = 0
    ) -> httpx.Response:
        left = max(retries, self._retries)
        pause_s = FIRST_S
        while True:
            try:
                answer = self.http.request(method, path, **options())
            except (httpx.TransportError, httpx.InvalidURL) as error:
                if not left or isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
                    raise unreachable(self.url, error) from error
                asked_s = 0.0
            else:
                if answer.is_success:
                    return answer
                asked_s = _retry_after_s(answer)
                if answer.status_code not in RETRIED or not left or asked_s > LONGEST_ASKED_S:
                    raise error_of(answer)
            self._sleep(max(asked_s, random.uniform(pause_s / 2, pause_s)))
            left, pause_s = left - 1, min(LONGEST_S, 2 * pause_s)

    @staticmethod
    def _object(answer: httpx.Response) -> Json:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        detail = f"{answer.url} does not answer like a Propius server"
        fix = "check the address: it is that of the platform's pages"
        raise ApiError(answer.status_code, "not_propius", detail, fix=fix)


def _retry_after_s(answer: httpx.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block
