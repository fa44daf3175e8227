"""The job client: the platform's REST API from Python."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Self

import httpx

from propius import __version__
from propius.http_errors import ApiError, error_of, unreachable

if TYPE_CHECKING:
    from propius.driven import DrivenJob

Json = dict[str, Any]
TIMEOUT_S = 60.0
BLOCK = 1 << 20


class Client:
    """Speaks to one Propius server as one tenant.

    Parameters
    ----------
    url
        The server's address, for example ``http://127.0.0.1:8000``.
    token
        An API token of the tenant.
    transport
        For tests: an ``httpx`` transport.

    Examples
    --------
    >>> with Client("http://127.0.0.1:8000", "token") as client:  # doctest: +SKIP
    ...     job = client.submit_job(spec)
    ...     client.wait(job["id"])
    """

    def __init__(
        self, url: str, token: str, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        try:
            self._http = httpx.Client(
                base_url=self.url + "/api/v1/",
                headers={
                    "Authorization": f"Bearer {token}",
                    "User-Agent": f"propius-python/{__version__}",
                },
                timeout=TIMEOUT_S,
                transport=transport,
            )
        except httpx.InvalidURL as error:
            raise unreachable(url, error) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def me(self) -> Json:
        """Return who the token speaks for: tenant, role, scopes."""
        return self._json("GET", "me")

    def upload_parameters(self, source: str | Path | bytes) -> str:
        """Upload a safetensors file, as a path or as bytes; return its digest."""
        return str(self._upload("parameters", source)["digest"])

    def upload_program(self, source: str | Path | bytes) -> Json:
        """Upload a program; return ``{"digest", "status"}``. The server checks it in its own time.

        See :meth:`wait_program`.
        """
        return self._upload("programs", source)

    def program(self, digest: str) -> Json:
        """Return a program's ``status`` (``checking``, ``valid``, ``invalid``) and ``errors``."""
        return self._json("GET", f"programs/{digest}")

    def wait_program(self, digest: str, *, timeout_s: float = 120.0) -> Json:
        """Wait until a program is checked.

        Raises
        ------
        ApiError
            It is invalid (code ``program_invalid``, with the errors), or still unchecked after
            ``timeout_s`` (``timeout``).
        """
        for program in _polled(lambda: self.program(digest), timeout_s, "the check of a program"):
            if program["status"] == "invalid":
                errors = program.get("errors") or {}
                named = errors if isinstance(errors, dict) else {"": errors}
                raise ApiError(422, "program_invalid", f"program {digest} is invalid", named)
            if program["status"] == "valid":
                return program
        raise AssertionError("unreachable")

    def submit_job(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> Json:
        """Submit a job; return it.

        Parameters
        ----------
        spec
            The job file's content; see :mod:`propius.spec`.
        idempotency_key
            The same key and spec give the same job, so that a lost answer can be asked again. One
            is made up if none is given.

        Raises
        ------
        ApiError
            With the faults by field in ``errors``.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._json("POST", "jobs", json=dict(spec), headers=headers)

    def job(self, job: str) -> Json:
        """Return a job."""
        return self._json("GET", f"jobs/{job}")

    def jobs(self, **filters: str) -> Iterator[Json]:
        """Return the tenant's jobs, newest first, page by page; ``status="running"`` filters."""
        return self._pages("jobs", filters)

    def cancel(self, job: str) -> Json:
        """Cancel a job; return it."""
        return self._json("POST", f"jobs/{job}/cancel")

    def driven(
        self, spec: Mapping[str, Any], parameters: Mapping[str, Any] | bytes | Path
    ) -> DrivenJob:
        """Submit a driven job, whose rounds your program starts; see :mod:`propius.driven`.

        Parameters
        ----------
        spec
            The job file's content without ``parameters``; ``rounds.demand`` is the most that a
            round may ask for. There is no ``strategy``: it is yours.
        parameters
            Arrays by name, or a safetensors file or its bytes: which tensors the rounds are about.
        """
        from propius import driven

        digest = self.upload_parameters(driven.encoded(parameters))
        return driven.DrivenJob(self, self.submit_job(driven.prepared(spec, digest)))

    def upload_for_round(self, job: str, source: str | Path | bytes) -> str:
        """Upload parameters for the next round of a driven job; return their digest."""
        return str(self._upload(f"jobs/{job}/parameters", source)["digest"])

    def rounds(self, job: str) -> Iterator[Json]:
        """Return a job's rounds."""
        return self._pages(f"jobs/{job}/rounds", {})

    def versions(self, job: str) -> Iterator[Json]:
        """Return a job's kept model versions, with number, digest and metrics."""
        return self._pages(f"jobs/{job}/versions", {})

    def download(self, job: str, version: int | Literal["latest"], path: str | Path) -> Path:
        """Save a model version as safetensors; return the path. A half file is never left there.

        Raises
        ------
        ApiError
            There is no such version, or none yet.
        """
        number = version
        if number == "latest":
            numbers = [int(one["number"]) for one in self.versions(job)]
            if not numbers:
                raise ApiError(404, "no_version", f"job {job} has no model version yet")
            number = max(numbers)
        return self.save(f"jobs/{job}/versions/{number}/download", path)

    def get(self, path: str) -> Json:
        """Return what a path of the API answers."""
        return self._json("GET", path)

    def post(self, path: str, body: Json | None) -> Json:
        """Send JSON to a path of the API; return the answer."""
        return self._json("POST", path, json=body)

    def save(self, url: str, path: str | Path) -> Path:
        """Save the file at a path of the API; a half file is never left there."""
        target = Path(path)
        draft = target.with_name(target.name + ".part")
        try:
            with (
                self._stream(url) as answer,
                draft.open("wb") as file,
            ):
                for block in answer.iter_bytes(BLOCK):
                    file.write(block)
            draft.replace(target)
        except httpx.HTTPError as error:
            raise unreachable(self.url, error) from error
        finally:
            draft.unlink(missing_ok=True)
        return target

    def wait(self, job: str, *, timeout_s: float | None = None, every_s: float = 1.0) -> Json:
        """Wait until a job is finished; return it. Raises :class:`ApiError` on a time-out."""
        for found in _polled(lambda: self.job(job), timeout_s, f"job {job}", every_s):
            if found["status"] == "finished":
                return found
        raise AssertionError("unreachable")

    def _upload(self, path: str, source: str | Path | bytes) -> Json:
        headers = {"Content-Type": "application/octet-stream"}
        if isinstance(source, bytes):
            return self._json("POST", path, content=source, headers=headers)
        size = os.path.getsize(source)
        with open(source, "rb") as file:
            headers["Content-Length"] = str(size)
            return self._json("POST", path, content=_blocks(file), headers=headers)

    @contextlib.contextmanager
    def _stream(self, path: str) -> Iterator[httpx.Response]:
        # The answer is the file, or points to where the data plane has it.
        with self._http.stream("GET", path, follow_redirects=True) as answer:
            if not answer.is_success:
                answer.read()
                raise error_of(answer)
            yield answer

    def _pages(self, path: str, filters: Mapping[str, str]) -> Iterator[Json]:
        page = self._json("GET", path, params=dict(filters))
        while True:
            yield from page["results"]
            if not page.get("next"):
                return
            page = self._json("GET", page["next"])

    def _json(self, method: str, path: str, **options: Any) -> Json:
        try:
            answer = self._http.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise unreachable(self.url, error) from error
        if not answer.is_success:
            raise error_of(answer)
        try:
            found: Json = answer.json()
        except ValueError as error:
            detail = f"{answer.url} does not answer like a Propius server"
            raise ApiError(answer.status_code, "not_propius", detail) from error
        return found


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(BLOCK):
        yield block


def _polled(
    ask: Callable[[], Json], timeout_s: float | None, what: str, every_s: float = 0.5
) -> Iterator[Json]:
    started = time.monotonic()
    while True:
        yield ask()
        if timeout_s is not None and time.monotonic() - started > timeout_s:
            raise ApiError(0, "timeout", f"{what} is not finished after {timeout_s:g} s")
        time.sleep(every_s)
