"""The sections of a job file, as typed structs; :mod:`propius.spec` makes a job of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from propius.adaptive import Adaptive
from propius.needs import Needs
from propius.training.config import TrainConfig

# max_length and (?!\n): in Python $ also matches before a final newline.
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[\w][\w .:/-]*(?!\n)$")]
Scalar = float | int | str | bool
Local = Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=100)]
CodecName = Literal[
    "fp32", "fp16", "bf16", "int8", "delta-fp16", "delta-bf16", "delta-int8", "topk1", "topk10"
]
Seconds = Annotated[float, Meta(ge=1, le=86_400)]
Share = Annotated[float, Meta(gt=0, le=1)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: unknown fields are faults."""


class ProgramWorkload(Section, frozen=True, kw_only=True, tag="program", tag_field="kind"):
    """A program (see :mod:`propius.program`) and the device data set that it trains on.

    Tensors whose names match a pattern of ``local`` (``bn*.weight``) stay each device's own
    (FedBN, Li et al., arXiv 2102.07623). ``adaptive`` lets slow devices do less than ``train``.
    """

    program: Digest
    dataset: Name
    needs: Needs = {}
    train: TrainConfig = TrainConfig()
    local: Local = []
    adaptive: Adaptive | None = None


class HandlerWorkload(Section, frozen=True, kw_only=True, tag="handler", tag_field="kind"):
    """A Python function that the device's owner registered under this name."""

    handler: Name
    dataset: Name
    needs: Needs = {}
    config: dict[str, Scalar] = {}
    local: Local = []


class QueryWorkload(Section, frozen=True, kw_only=True, tag="query", tag_field="kind"):
    """A question that the device's owner registered a function for: its answers are summed.

    ``parameters`` of the job are the form of the answer, zeros by name and shape; see
    :mod:`propius.queries`.
    """

    handler: Name
    dataset: Name
    needs: Needs = {}
    config: dict[str, Scalar] = {}


class Rounds(Section, frozen=True, kw_only=True):
    """How many rounds, how large, how long.

    ``demand`` devices are asked for; ``over_selection`` × demand are bound; a round completes
    once ``demand`` have reported, or at its deadline with at least ``quorum`` × demand.
    ``selection_s`` bounds the wait for devices, ``deadline_s`` the work after it.
    ``min_demand`` allows partial admission: where fleet or quota do not have ``demand`` devices,
    rounds ask for fewer, down to it.
    """

    count: Annotated[int, Meta(ge=1, le=100_000)]
    demand: Annotated[int, Meta(ge=1, le=100_000)]
    min_demand: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    over_selection: Annotated[float, Meta(ge=1, le=3)] = 1.0
    quorum: Share = 0.8
    selection_s: Seconds = 300.0
    deadline_s: Seconds = 600.0
    on_shortfall: Literal["extend", "restart", "fail"] = "extend"
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    min_cohort: Annotated[int, Meta(ge=1, le=100_000)] = 5


class Evaluation(Section, frozen=True, kw_only=True):
    """Evaluation rounds on devices' validation splits; ``every`` = 0 means none.

    With a ``fraction``, about that share of the devices is held out: they never train for this
    job, and only they evaluate it.
    """

    every: Annotated[int, Meta(ge=0, le=100_000)] = 0
    demand: Annotated[int, Meta(ge=1, le=100_000)] = 10
    fraction: Annotated[float, Meta(gt=0, le=0.5)] | None = None


class Constraints(Section, frozen=True, kw_only=True):
    """Conditions that the platform matches (public) or only the device knows (private)."""

    public: dict[str, Any] = {}
    private: dict[str, Any] = {}


class Retention(Section, frozen=True, kw_only=True):
    """Which model versions stay beside the best and the pinned ones."""

    versions: Annotated[int, Meta(ge=1, le=1000)] = 5
