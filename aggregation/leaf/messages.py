"""What a leaf and the root say to each other; JSON over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from aggregation import under_way
from propius.wire import fields

State = Literal["open", "push", "over"]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-f-]{36}$", max_length=36)]
TRANSFERS_MAX = 10_000
Transfers = Annotated[dict[Uuid, under_way.Told | None], Meta(max_length=TRANSFERS_MAX)]


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a leaf is: what operators see of it."""

    free_bytes: fields.Size
    cached_bytes: fields.Size
    held: Annotated[int, Meta(ge=0, le=1 << 31)]
    version: Annotated[str, Meta(max_length=40)]


class Beat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A heartbeat; ``rounds`` are those that the leaf has updates of.

    ``transfers`` says by assignment what moves through the leaf, null for what has ended since.
    """

    load: Load
    rounds: Annotated[list[Uuid], Meta(max_length=10_000)]
    transfers: Transfers = {}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to a beat: the keys that tickets are signed with, and how each round stands."""

    leaf: str
    keys: list[str]
    fold_batch: int
    rounds: dict[str, State]


class Update(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An update on the leaf's disk, and the ticket that its device showed."""

    assignment: Uuid
    ticket: Annotated[str, Meta(max_length=4096)]
    digest: fields.Digest
    size_bytes: Annotated[int, Meta(ge=1, le=1 << 40)]
    weight: Annotated[float, Meta(gt=0, le=1e9)]
    metrics: dict[fields.Name, float] = {}


class Holds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Updates of one round that the leaf would acknowledge."""

    round: Uuid
    updates: Annotated[list[Update], Meta(min_length=1, max_length=256)]


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why an update is not taken."""

    code: str
    message: str


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Answer: which are acknowledged, which are refused, and whether the round wants all now."""

    taken: list[str]
    refused: dict[str, Why]
    push: bool


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How the updates of a round are written, and whether leaves fold them or forward them.

    Those of an asynchronous job go to the root: leaves do not ``take`` them.
    """

    round: str
    take: bool
    fold: bool
    strategy: dict[str, Any]
    codecs: list[str]
    tensors: dict[str, Any]
    base: str


class Partial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sum whose tensors are at the root: the assignments in it, in the batches they came in."""

    round: Uuid
    digest: fields.Digest
    batches: list[list[Uuid]]


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """Answer: the partial's number in its round."""

    number: int
