"""What the platform tells of jobs, rounds, model versions and devices, typed.

Each is a frozen dataclass whose fields are documented by their types, and a mapping of all that
the REST API answered, also of what a newer server tells: ``job.name`` and ``job["name"]`` are the
same. Times are aware :class:`datetime.datetime` as attributes, and text in the mapping.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from propius.http_errors import ApiError

if TYPE_CHECKING:
    from propius.client import Client
    from propius.events import Event
    from propius.manifest import Manifest

Json = dict[str, Any]
Kind = Literal["train", "evaluate", "query"]


class Resource(Mapping[str, Any]):
    """Base of what the server told: attributes, and a mapping of the whole answer."""

    if TYPE_CHECKING:  # else they would be taken for fields of the answer
        _raw: Json
        _client: Client

    def __getitem__(self, name: str) -> Any:
        return self._raw[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)


R = TypeVar("R", bound=Resource)


def read(kind: type[R], raw: Json, client: Client) -> R:
    """Return the server's answer as a resource. Raises :class:`ApiError` if it is none."""
    try:
        found = msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        detail = f"{client.url} answered with another kind of {kind.__name__} ({error})"
        raise ApiError(0, "not_understood", detail, fix="update propius-sdk") from error
    object.__setattr__(found, "_raw", raw)
    object.__setattr__(found, "_client", client)
    return found


@dataclass(frozen=True, eq=False)
class Waiting:
    """What a job waits for: a stable ``code``, words for people, and the numbers in them."""

    code: str = ""
    message: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Caller(Resource):
    """Who a token speaks for."""

    tenant: str
    name: str = ""
    role: str = ""
    scopes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Policy(Resource):
    """How devices are shared among jobs."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Program(Resource):
    """An uploaded program; ``status`` is checking, valid or invalid."""

    digest: str
    status: str
    errors: Any = None


@dataclass(frozen=True, eq=False)
class Round(Resource):
    """One round of a job; ``kind`` is train, evaluate or query."""

    id: str
    number: int
    kind: str
    status: str
    attempt: int = 1
    outcome: str = ""
    reason: Any = None
    demand: int = 0
    target: int = 0
    assigned: int = 0
    reported: int = 0
    lost: int = 0
    base_version: int = 0
    metrics: dict[str, Any] | None = None
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, eq=False)
class Version(Resource):
    """One kept version of a job's model; ``reports`` updates are in it."""

    number: int
    digest: str = ""
    size_bytes: int = 0
    reports: int | None = None
    metrics: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    pinned: bool = False
    created_at: datetime | None = None


@dataclass(frozen=True, eq=False)
class Device(Resource):
    """A device of the tenant's own pool."""

    id: str
    name: str
    pool: str
    status: str
    sdk: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    workloads: Any = None
    seen_at: datetime | None = None


@dataclass(frozen=True, eq=False)
class Job(Resource):
    """A job and where it stands.

    ``status`` is submitted, running, paused or finished; ``outcome`` says how it finished:
    completed, failed, cancelled, rejected or expired. It is as the server told it last:
    :meth:`refresh` asks again.
    """

    id: str
    name: str
    status: str
    outcome: str = ""
    waiting: Waiting = field(default_factory=Waiting)
    priority: int = 0
    version: int = 0
    parameters_digest: str = ""
    submitted_by: str = ""
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    spec: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return self.status == "finished"

    def refresh(self) -> Job:
        """Return the job as it is now."""
        return self._client.job(self.id)

    def wait(self, *, timeout_s: float | None = None) -> Job:
        """Wait until it has finished; return it then. Raises :class:`ApiError` (``timeout``)."""
        return self._client.wait(self.id, timeout_s=timeout_s)

    def cancel(self) -> Job:
        """Cancel it; its kept model versions stay."""
        return self._client.cancel(self.id)

    def pause(self) -> Job:
        """Bind no more devices; those at work may report."""
        return self._client.pause(self.id)

    def resume(self) -> Job:
        """Go on after a pause."""
        return self._client.resume(self.id)

    def clone(self, **changes: Any) -> Job:
        """Submit its file again, with these top-level fields replaced; return the new job."""
        return self._client.clone(self.id, changes)

    def rounds(self) -> Iterator[Round]:
        """Yield its rounds, newest first."""
        return self._client.rounds(self.id)

    def metrics(self, kind: Kind | None = None) -> dict[str, list[Any]]:
        """Return the finished rounds of a kind as columns; see :func:`columns`.

        Without a kind, what the model is judged by; see :func:`curve`.
        """
        found = list(self.rounds())
        return columns(curve(found) if kind is None else [one for one in found if one.kind == kind])

    def manifest(self) -> Manifest:
        """Return how its model came to be; see :mod:`propius.manifest`."""
        return self._client.manifest(self.id)

    def versions(self) -> Iterator[Version]:
        """Yield its kept model versions."""
        return self._client.versions(self.id)

    def download(self, path: str | Path, version: int | Literal["latest"] = "latest") -> Path:
        """Save a model version as safetensors; return the path."""
        return self._client.download(self.id, version, path)

    def events(
        self, *, after: str = "", follow: bool = True, kinds: Iterable[str] = ()
    ) -> Iterator[Event]:
        """Yield what happens to it, from its first event or ``after`` one, until it has ended."""
        return self._client.events(self.id, after=after, follow=follow, kinds=kinds)


COLUMNS = ("number", "attempt", "outcome", "demand", "reported", "opened_at", "finished_at")


def curve(rounds: list[Round]) -> list[Round]:
    """Return the rounds that a model is judged by: evaluations if any has measured it.

    Else what the devices measured while they trained.
    """
    evaluated = any(one.kind == "evaluate" and one.metrics for one in rounds)
    kinds = ("evaluate",) if evaluated else ("train", "query")
    return [one for one in rounds if one.kind in kinds]


def columns(rounds: list[Round]) -> dict[str, list[Any]]:
    """Return finished rounds as columns, oldest first, ready for ``pandas.DataFrame``.

    Besides :data:`COLUMNS` there is one for each metric, ``None`` where a round has none.
    """
    ended = sorted(
        (one for one in rounds if one.status == "finished"),
        key=lambda one: (one.number, one.attempt, one.kind),
    )
    table: dict[str, list[Any]] = {name: [getattr(one, name) for one in ended] for name in COLUMNS}
    names = {name: None for one in ended for name in one.metrics or {}}
    for name in names:
        # A metric may be called as a column is.
        table[f"metric_{name}" if name in COLUMNS else name] = [
            (one.metrics or {}).get(name) for one in ended
        ]
    return table
