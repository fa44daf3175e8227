"""The job client: the platform's REST API from Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import httpx
import msgspec

from propius import events, manifest, resources
from propius.calls import FEW, MANY, Calls
from propius.http_errors import ApiError
from propius.manifest import Manifest
from propius.resources import Caller, Device, Job, Policy, Program, Round, Version

if TYPE_CHECKING:
    from propius.driven import DrivenJob

T = TypeVar("T")


class Client:
    """Speaks to one Propius server as one tenant.

    A call that is lost on the way, or refused for now (429, 502, 503, 504), is made again; every
    POST carries an ``Idempotency-Key``, so that nothing is done twice.

    Parameters
    ----------
    url
        The server's address, for example ``http://127.0.0.1:8000``.
    token
        An API token of the tenant.
    retries
        Times that a call is made again.
    transport
        For tests: an ``httpx`` transport.

    Examples
    --------
    >>> with Client("http://127.0.0.1:8000", "token") as client:  # doctest: +SKIP
    ...     job = client.submit_job(spec).wait()
    ...     print(job.outcome, job.metrics()["loss"])
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        retries: int = FEW,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._calls = Calls(url, token, retries=retries, transport=transport)
        self.url = self._calls.url

    def close(self) -> None:
        """Close the connections."""
        self._calls.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def me(self) -> Caller:
        """Return who the token speaks for: tenant, role, scopes."""
        return resources.read(Caller, self.get("me"), self)

    def policy(self) -> Policy:
        """Return how devices are shared among all tenants' jobs."""
        return resources.read(Policy, self.get("policy"), self)

    def devices(self, **filters: str) -> Iterator[Device]:
        """Yield the devices of the tenant's own pools; ``status``, ``pool``, ``name`` filter."""
        for raw in self._calls.pages("devices", filters):
            yield resources.read(Device, raw, self)

    def upload_parameters(self, source: str | Path | bytes) -> str:
        """Upload a safetensors file, as a path or as bytes; return its digest."""
        return str(self._calls.upload("parameters", source)["digest"])

    def upload_program(self, source: str | Path | bytes) -> Program:
        """Upload a program; return its digest and status. The server checks it in its own time.

        See :meth:`wait_program`.
        """
        return resources.read(Program, self._calls.upload("programs", source), self)

    def program(self, digest: str) -> Program:
        """Return a program's ``status`` (``checking``, ``valid``, ``invalid``) and ``errors``."""
        return resources.read(Program, self.get(f"programs/{digest}"), self)

    def wait_program(self, digest: str, *, timeout_s: float = 120.0) -> Program:
        """Wait until a program is checked.

        Raises
        ------
        ApiError
            It is invalid (code ``program_invalid``, with the errors), or still unchecked after
            ``timeout_s`` (``timeout``).
        """
        for program in _polled(lambda: self.program(digest), timeout_s, "the check of a program"):
            if program.status == "invalid":
                errors = program.errors or {}
                named = errors if isinstance(errors, dict) else {"": errors}
                raise ApiError(422, "program_invalid", f"program {digest} is invalid", named)
            if program.status == "valid":
                return program
        raise AssertionError("unreachable")

    def submit_job(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> Job:
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
        return self._job(self._calls.post("jobs", dict(spec), key=idempotency_key))

    def job(self, job: str) -> Job:
        """Return a job."""
        return self._job(self.get(f"jobs/{job}"))

    def jobs(self, **filters: str) -> Iterator[Job]:
        """Yield the tenant's jobs, newest first, page by page; ``status="running"`` filters."""
        return map(self._job, self._calls.pages("jobs", filters))

    def cancel(self, job: str) -> Job:
        """Cancel a job; return it."""
        return self._job(self._calls.post(f"jobs/{job}/cancel"))

    def pause(self, job: str) -> Job:
        """Let a job bind no more devices; return it."""
        return self._job(self._calls.post(f"jobs/{job}/pause"))

    def resume(self, job: str) -> Job:
        """Let a paused job go on; return it."""
        return self._job(self._calls.post(f"jobs/{job}/resume"))

    def clone(
        self,
        job: str,
        changes: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Job:
        """Submit a job's file again, with ``changes`` to its top-level fields; return the new."""
        body = dict(changes or {})
        return self._job(self._calls.post(f"jobs/{job}/clone", body, key=idempotency_key))

    def events(
        self, job: str, *, after: str = "", follow: bool = True, kinds: Iterable[str] = ()
    ) -> Iterator[events.Event]:
        """Yield what happens to a job until it has ended, through broken connections.

        ``after`` is the id of the last event known; ``follow=False`` ends with what is there now;
        ``kinds`` are those wanted, such as ``round.completed``: none is all.
        """
        return events.follow(self._calls, job, after=after, follow=follow, kinds=kinds)

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
        return str(self._calls.upload(f"jobs/{job}/parameters", source)["digest"])

    def rounds(self, job: str) -> Iterator[Round]:
        """Yield a job's rounds, newest first."""
        for raw in self._calls.pages(f"jobs/{job}/rounds"):
            yield resources.read(Round, raw, self)

    def versions(self, job: str) -> Iterator[Version]:
        """Yield a job's kept model versions, with number, digest and metrics."""
        for raw in self._calls.pages(f"jobs/{job}/versions"):
            yield resources.read(Version, raw, self)

    def manifest(self, job: str) -> Manifest:
        """Return how a job's model came to be; see :mod:`propius.manifest`."""
        raw = self._calls.get(f"jobs/{job}/manifest", retries=MANY)
        while (after := raw["next"]) is not None:
            more = self._calls.get(f"jobs/{job}/manifest", params={"after": after}, retries=MANY)
            raw = manifest.joined(raw, more)
        try:
            return manifest.convert(raw)
        except msgspec.ValidationError as error:
            detail = f"{self.url} answered with another kind of manifest ({error})"
            raise ApiError(0, "not_understood", detail, fix="update propius-sdk") from error

    def download(self, job: str, version: int | Literal["latest"], path: str | Path) -> Path:
        """Save a model version as safetensors; return the path. A half file is never left there.

        Raises
        ------
        ApiError
            There is no such version, or none yet.
        """
        number = version
        if number == "latest":
            numbers = [one.number for one in self.versions(job)]
            if not numbers:
                raise ApiError(404, "no_version", f"job {job} has no model version yet")
            number = max(numbers)
        return self.save(f"jobs/{job}/versions/{number}/download", path)

    def wait(self, job: str, *, timeout_s: float | None = None, every_s: float = 1.0) -> Job:
        """Wait until a job is finished; return it. Raises :class:`ApiError` on a time-out.

        A server that is away for a minute, as in an upgrade, is waited for.
        """

        def ask() -> Job:
            return self._job(self._calls.get(f"jobs/{job}", retries=MANY))

        for found in _polled(ask, timeout_s, f"job {job}", every_s):
            if found.finished:
                return found
        raise AssertionError("unreachable")

    def get(self, path: str) -> dict[str, Any]:
        """Return what a path of the API answers."""
        return self._calls.get(path)

    def post(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Send JSON to a path of the API; return the answer."""
        return self._calls.post(path, body)

    def save(self, url: str, path: str | Path) -> Path:
        """Save the file at a path of the API; a half file is never left there."""
        target = Path(path)
        self._calls.save(url, target)
        return target

    def _job(self, raw: dict[str, Any]) -> Job:
        return resources.read(Job, raw, self)


def _polled(
    ask: Callable[[], T], timeout_s: float | None, what: str, every_s: float = 0.5
) -> Iterator[T]:
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        yield ask()
        left_s = every_s if until is None else until - time.monotonic()
        if left_s <= 0:
            raise ApiError(0, "timeout", f"{what} is not finished after {timeout_s:g} s")
        time.sleep(min(every_s, left_s))
