"""What tensors an update of a job must hold, from the artifacts that the job names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from jobs import constraints
from jobs.models import Artifact, Job
from propius import codec
from propius.strategies import CONTROL
from propius.tensors import TensorInfo

MEAN, SERVER, LOCAL = "mean", "server", "local"


def rules(job: Job) -> dict[str, str]:
    """Return how each tensor of a job's model becomes the next version's.

    ``local`` tensors, by the job's patterns, are each device's own, and like ``server`` ones stay
    as they are here. Of the rest a program says ``mean`` or ``server`` itself. Without one, floats
    are averaged, and integers (counters, lookup tables), of which a mean means nothing, stay the
    server's.
    """
    return {name: rule for name, (_, rule) in _tensors(job).items()}


def averaged(job: Job) -> dict[str, TensorInfo]:
    """Return the tensors that updates are about: of a job's model, and their control variates."""
    model = {name: info for name, (info, rule) in _tensors(job).items() if rule == MEAN}
    return model | controls(model) if has_controls(job) else model


def has_controls(job: Job) -> bool:
    """Tell whether an update has a second group of tensors, the changes of control variates."""
    return bool(job.spec["workload"].get("train", {}).get("control_variates"))


def controls(model: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Return the control variates of a model's tensors: as wide as they are summed."""
    return {
        f"{CONTROL}.{name}": TensorInfo("F64" if info.dtype == "F64" else "F32", info.shape)
        for name, info in model.items()
    }


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


def _tensors(job: Job) -> dict[str, tuple[TensorInfo, str]]:
    workload = job.spec["workload"]
    found = _read(job.tenant_id, job.spec["parameters"], workload.get("program") or "")
    patterns = workload.get("local", ())
    return {
        name: (info, LOCAL if any(fnmatchcase(name, one) for one in patterns) else rule)
        for name, (info, rule) in found.items()
    }


# Artifacts are named by content and valid ones never change, so what was read stays true.
@functools.lru_cache(maxsize=256)
def _read(tenant_id: UUID, parameters: str, program: str) -> dict[str, tuple[TensorInfo, str]]:
    valid = Artifact.objects.filter(tenant_id=tenant_id, status=Artifact.Status.VALID)
    given = valid.get(kind=Artifact.Kind.PARAMETERS, digest=parameters).tensors
    said: Mapping[str, Any] = {}
    if program:
        said = valid.get(kind=Artifact.Kind.PROGRAM, digest=program).tensors
    tensors = {}
    for name, one in given.items():
        info = TensorInfo(one["dtype"], tuple(one["shape"]))
        rule = said.get(name, {}).get("rule") or (MEAN if info.dtype in codec.FLOATS else SERVER)
        tensors[name] = (info, rule)
    return tensors
