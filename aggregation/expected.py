"""What tensors an update of a job must hold, from the artifacts that the job names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aggregation import rules as ruling
from aggregation.rules import controls as controls
from jobs import constraints
from jobs.models import Artifact, Job
from propius.tensors import TensorInfo


def rules(job: Job) -> dict[str, str]:
    """Return how each tensor of a job's model becomes the next version's; see ``rules.ruled``."""
    return {name: rule for name, (_, rule) in _tensors(job).items()}


def averaged(job: Job) -> dict[str, TensorInfo]:
    """Return the tensors that updates are about: of a job's model, and their control variates."""
    model = ruling.averaged(_tensors(job))
    return model | controls(model) if has_controls(job) else model


def has_controls(job: Job) -> bool:
    """Tell whether an update has a second group of tensors, the changes of control variates."""
    return bool(job.spec["workload"].get("train", {}).get("control_variates"))


def codecs(job: Job) -> list[str]:
    """Return the codecs that updates of ``job`` may be in, its own first."""
    return constraints.codecs(job.spec)


def given(job: Job) -> dict[str, Any]:
    """Return all tensors of a job's model, as an Artifact keeps them."""
    return as_json({name: info for name, (info, _) in _tensors(job).items()})


def as_json(
    header: Mapping[str, TensorInfo], rule_of: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return tensors as an Artifact keeps them."""
    return {
        name: {"dtype": info.dtype, "shape": list(info.shape)}
        | ({"rule": rule_of[name]} if rule_of else {})
        for name, info in header.items()
    }


def _tensors(job: Job) -> ruling.Ruled:
    workload = job.spec["workload"]
    given, said = _read(job.tenant_id, job.spec["parameters"], workload.get("program") or "")
    return ruling.ruled(given, said, workload.get("local", ()))


# Artifacts are named by content and valid ones never change, so what was read stays true.
@functools.lru_cache(maxsize=256)
def _read(
    tenant_id: UUID, parameters: str, program: str
) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    valid = Artifact.objects.filter(tenant_id=tenant_id, status=Artifact.Status.VALID)
    given = valid.get(kind=Artifact.Kind.PARAMETERS, digest=parameters).tensors
    said: Mapping[str, Any] = {}
    if program:
        said = valid.get(kind=Artifact.Kind.PROGRAM, digest=program).tensors
    tensors = {name: TensorInfo(one["dtype"], tuple(one["shape"])) for name, one in given.items()}
    return tensors, {name: one["rule"] for name, one in said.items() if one.get("rule")}
