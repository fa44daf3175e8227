"""The job file: what a tenant asks the platform to run, typed and checked, without torch.

A job file is TOML or JSON with ``schema = 1``. :func:`parse` gives a :class:`JobSpec` or a
:class:`SpecError` that lists every fault it can name as field → what is wrong and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from propius import adaptive, constraints, faults, spec_checks
from propius.privacy import Privacy
from propius.sections import (
    CodecName,
    Constraints,
    Digest,
    Evaluation,
    HandlerWorkload,
    Name,
    ProgramWorkload,
    QueryWorkload,
    Retention,
    Rounds,
    Section,
)
from propius.strategies import AnyStrategy, FedAvg, FedNova, FedProx, Scaffold

SCHEMA = 1


class SpecError(ValueError):
    """A job file with faults; ``errors`` maps each field to what is wrong and what is allowed."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {text}" for field, text in errors.items()))
        self.errors = dict(errors)


class JobSpec(Section, frozen=True, kw_only=True):
    """One job, as submitted.

    ``frozen`` are parameters that the program needs too and that no device trains (the base of a
    LoRA): a device fetches them once and keeps them by their digest. A device that does not know
    ``codec`` uses the first of ``codec_fallbacks`` that it knows, or is not offered the job.
    """

    schema: Literal[1]
    name: Name
    workload: ProgramWorkload | HandlerWorkload | QueryWorkload
    parameters: Digest
    frozen: Digest | None = None
    rounds: Rounds
    evaluation: Evaluation = Evaluation()
    constraints: Constraints = Constraints()
    strategy: AnyStrategy = FedAvg()
    codec: CodecName = "fp32"
    codec_fallbacks: Annotated[list[CodecName], Meta(max_length=9)] = []
    privacy: Privacy | None = None
    retention: Retention = Retention()
    pools: Annotated[list[Name], Meta(max_length=50)] = []
    priority: Annotated[int, Meta(ge=-10, le=10)] = 0
    max_update_bytes: Annotated[int, Meta(ge=1, le=1 << 40)] | None = None
    max_update_norm: Annotated[float, Meta(gt=0, le=1e18)] | None = None
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0
    driven: bool = False


def parse(raw: Mapping[str, Any]) -> JobSpec:
    """Check a job file that was read from TOML or JSON.

    Raises
    ------
    SpecError
        With one entry for each fault found, keyed by the field's dotted path.
    """
    if not isinstance(raw, Mapping):
        raise SpecError({"": f"a job is an object, not {type(raw).__name__}"})
    try:
        spec = msgspec.convert(raw, JobSpec)
    except msgspec.ValidationError as error:
        found = faults.every(raw, JobSpec) or dict([faults.named(str(error), raw, JobSpec)])
        raise SpecError(found) from error
    errors = spec_checks.cross_check(spec)
    if errors:
        raise SpecError(errors)
    return spec


def normalised(spec: JobSpec) -> dict[str, Any]:
    """Return the spec as plain JSON values, defaults filled in and constraints in normal form."""
    plain: dict[str, Any] = msgspec.to_builtins(spec)
    for side in ("public", "private"):
        conditions = constraints.parse(plain["constraints"][side])
        plain["constraints"][side] = constraints.as_json(conditions)
    if isinstance(spec.strategy, FedProx):
        plain["workload"]["train"]["proximal_mu"] = spec.strategy.mu
    if isinstance(spec.strategy, Scaffold):
        plain["workload"]["train"]["control_variates"] = True
    adaptive.normalise(plain["workload"], corrects=isinstance(spec.strategy, FedProx | FedNova))
    if not spec.codec_fallbacks:
        del plain["codec_fallbacks"]
    # What older SDKs do not know is told only where it is used.
    unsaid = {"decay": 1.0, "schedule": "constant", "control_variates": False}
    for name, default in unsaid.items():
        if plain["workload"].get("train", {}).get(name) == default:
            del plain["workload"]["train"][name]
    if spec.evaluation.fraction is None:
        del plain["evaluation"]["fraction"]
    return plain
