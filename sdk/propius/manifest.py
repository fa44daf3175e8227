"""A job's manifest: how its model came to be, and what it takes to run it again.

``GET /api/v1/jobs/{id}/manifest`` answers with it, ``propius job export`` writes it, and ``propius
job rerun`` reads it. ``python -m propius.manifest`` prints its JSON Schema, which stands in
``docs/protocol/manifest.schema.json``.

What a single device measured is not in it, nor how many examples it has.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec

from propius.training.config import TrainConfig
from propius.wire.schema import written

SCHEMA = 1


class ManifestBlob(msgspec.Struct, frozen=True, kw_only=True):
    """A file by its SHA-256."""

    digest: str
    size_bytes: int


class ManifestPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that shared the fleet while rounds of the job were open.

    ``version`` is the number of the choice, 0 for the default that nobody chose; ``since`` is when
    it came into force.
    """

    version: int
    name: str
    parameters: dict[str, Any]
    since: datetime | None


class ManifestMember(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device whose report is in a release, under the name that the tenant knows it by.

    ``plan`` is the version of the plan that it was bound under; ``base_version`` the model version
    that it began from, where that is its own and not the round's.
    """

    assignment: str
    device: str
    plan: int
    base_version: int | None = None


class ManifestBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A partial sum, of the reports ``first`` to ``last`` of the cohort, the first being 1."""

    number: int
    first: int
    last: int
    partial: str


class ManifestSent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every device of a round was told beside its parameters.

    ``train`` is how a program trains, with the learning rate of this round; ``config`` what a
    handler is called with.
    """

    codec: str
    max_update_bytes: int
    deadline_s: float
    train: dict[str, Any] | None = None
    config: dict[str, Any] | None = None


class ManifestVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The model version that a round made.

    ``state`` is the digest of what the strategy keeps beside it, or empty; ``weight`` the sum of
    the reports' weights. ``made_with`` are the releases of the platform and its libraries.
    """

    number: int
    digest: str
    size_bytes: int
    state: str
    reports: int
    weight: float | None
    metrics: dict[str, Any]
    evaluation: dict[str, Any]
    made_with: dict[str, str]


class ManifestRound(msgspec.Struct, frozen=True, kw_only=True):
    """One round, in the order in which they opened.

    ``cohort`` are the devices of a release in the order in which their reports were counted, and
    ``batches`` how they were folded; both are empty unless the round completed. ``policies`` are
    the versions in force between its opening and its close. ``forgotten``: the platform has let
    cohort and batches go, and the version's weight with them.
    """

    id: str
    number: int
    attempt: int
    kind: str
    status: str
    outcome: str
    reason: str
    demand: int
    target: int
    quorum: int
    reported: int
    seed: int
    base_version: int
    base_digest: str
    opened_at: datetime
    closed_at: datetime | None
    finished_at: datetime | None
    policies: list[int]
    sent: ManifestSent
    cohort: list[ManifestMember]
    batches: list[ManifestBatch]
    version: ManifestVersion | None
    metrics: dict[str, Any]
    forgotten: bool = False


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it. ``next`` asks for further rounds, as ``?after=``; null with the last."""

    schema: int
    job: str
    name: str
    tenant: str
    status: str
    outcome: str
    submitted_at: datetime
    finished_at: datetime | None
    spec: dict[str, Any]
    seed: int
    parameters: ManifestBlob
    program: ManifestBlob | None
    frozen: ManifestBlob | None
    platform: dict[str, str]
    policies: list[ManifestPolicy]
    rounds: list[ManifestRound]
    next: str | None = None


def told_to_train(train: dict[str, Any], number: int) -> dict[str, Any]:
    """Return how a program trains in a round: its section, with the round's learning rate.

    Examples
    --------
    >>> told_to_train({"learning_rate": 0.5, "decay": 0.5}, 3)["learning_rate"]
    0.125
    """
    config = msgspec.convert(train, TrainConfig)
    return train | {"learning_rate": config.in_round(number).learning_rate}


def decode(data: bytes | str) -> Manifest:
    """Read a manifest file. Raises :class:`msgspec.MsgspecError` with the field that is wrong."""
    return _known(msgspec.json.decode(data, type=Manifest))


def encode(manifest: Manifest) -> bytes:
    """Return a manifest as its file has it."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def convert(raw: dict[str, Any]) -> Manifest:
    """Return what the server answered as a manifest. Raises :class:`msgspec.ValidationError`."""
    return _known(msgspec.convert(raw, Manifest))


def joined(first: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of the server with its next one's rounds."""
    policies = {one["version"]: one for one in [*first["policies"], *more["policies"]]}
    rounds = [*first["rounds"], *more["rounds"]]
    return {**more, "policies": [*policies.values()], "rounds": rounds}


def _known(found: Manifest) -> Manifest:
    if found.schema != SCHEMA:
        raise msgspec.ValidationError(f"schema {found.schema}; {SCHEMA} is what is known here")
    return found


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest."""
    found = msgspec.json.schema(Manifest)
    about = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Propius manifest of a job, schema {SCHEMA}",
    }
    return about | found


def text() -> str:
    """Return the schema as its file has it."""
    return json.dumps(written(schema()), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(text(), end="")
