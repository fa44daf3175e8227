"""Take a job: check the file and what it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from core import events, hints
from core.errors import Unprocessable
from jobs.models import Artifact, Job
from jobs.services import drafting
from jobs.services.lifecycle import JobUnknown
from propius.strategies import CONTROL
from tenants import services as tenant_services


class UnknownArtifact(Unprocessable):
    """The job names a program or parameters that were not uploaded."""

    code = "unknown_artifact"


class ParametersMismatch(Unprocessable):
    """The parameters are not those that the program expects."""

    code = "parameters_mismatch"


@transaction.atomic
def submit(
    *,
    tenant_id: UUID,
    raw: Mapping[str, Any],
    submitted_by: str,
    now: datetime,
) -> Job:
    """Submit a job. Admission follows in scheduling.

    Raises SpecInvalid, UnknownArtifact, ParametersMismatch.
    """
    job = drafting.draft(tenant_id=tenant_id, raw=raw, submitted_by=submitted_by, now=now)
    parameters = uploads(job)
    job.parameters_digest, job.parameters_size = parameters.digest, parameters.size_bytes
    job.save(force_insert=True)
    events.append("job.submitted", now=now, tenant_id=tenant_id, job_id=job.id)
    tenant_services.audit(
        tenant_id=tenant_id, actor=submitted_by, action="job.submit", target=str(job.id), now=now,
        name=job.name, spec=hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest(),
    )  # fmt: skip
    hints.send("scheduling.admit", str(job.id), queue="scheduling")
    return job


def uploads(job: Job) -> Artifact:
    """Return a job's parameters; all that it names must be there, and fit.

    Raises UnknownArtifact, ParametersMismatch.
    """
    return _artifacts(job.tenant_id, job.spec)


@transaction.atomic
def clone(
    *,
    tenant_id: UUID,
    job_id: UUID,
    changes: Mapping[str, Any],
    submitted_by: str,
    now: datetime,
) -> Job:
    """Submit a job's file again with ``changes`` to its top-level fields.

    Raises JobUnknown and what :func:`submit` raises.
    """
    source = Job.objects.filter(tenant_id=tenant_id, id=job_id).first()
    if source is None:
        raise JobUnknown(f"no job {job_id}")
    job = submit(
        tenant_id=tenant_id,
        raw={**source.spec_raw, **changes},
        submitted_by=submitted_by,
        now=now,
    )
    tenant_services.audit(
        tenant_id=tenant_id, actor=submitted_by, action="job.clone", target=str(job.id),
        now=now, source=str(job_id), changed=sorted(changes),
    )  # fmt: skip
    return job


def _artifacts(tenant_id: UUID, spec: Mapping[str, Any]) -> Artifact:
    """Return the parameters' artifact after checking that it fits the program."""
    parameters = _artifact(tenant_id, Artifact.Kind.PARAMETERS, spec["parameters"], "parameters")
    if spec["workload"]["kind"] == "program":
        field = "workload.program"
        program = _artifact(tenant_id, Artifact.Kind.PROGRAM, spec["workload"]["program"], field)
        given = parameters.tensors
        if spec["frozen"] is not None:
            kind = Artifact.Kind.PARAMETERS
            frozen = _artifact(tenant_id, kind, spec["frozen"], "frozen").tensors
            _check_apart(frozen, given)
            given = {**given, **frozen}
        if spec["workload"]["train"].get("control_variates"):
            _check_names(parameters.tensors)
        faults = mismatches(expected=program.tensors, given=given)
        if program.status == Artifact.Status.VALID and faults:
            raise ParametersMismatch(
                "the parameters are not those that the program expects: "
                + "; ".join(f"{name}: {fault}" for name, fault in faults.items()),
                errors={f"parameters.{name}": fault for name, fault in faults.items()},
            )
    return parameters


def _check_names(trained: Mapping[str, Any]) -> None:
    """Refuse names that control variates have in an update."""
    taken = [name for name in sorted(trained) if name.startswith(f"{CONTROL}.")][:10]
    if taken:
        text = f"names of control variates begin with {CONTROL!r} and a dot; rename the tensor"
        raise ParametersMismatch(
            f"strategy scaffold cannot train {', '.join(taken)}: {text}",
            errors={f"parameters.{name}": text for name in taken},
        )


def _check_apart(frozen: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    both = sorted(set(frozen) & set(trained))
    if both:
        raise ParametersMismatch(
            f"tensors cannot be trained and frozen: {', '.join(both[:10])}",
            errors={f"frozen.{name}": "it is in parameters too" for name in both[:10]},
        )


def _artifact(tenant_id: UUID, kind: str, digest: str, field: str) -> Artifact:
    artifact = Artifact.objects.filter(tenant_id=tenant_id, kind=kind, digest=digest).first()
    if artifact is None:
        raise UnknownArtifact(
            f"no {kind} {digest} was uploaded", errors={field: f"{digest} was not uploaded"}
        )
    if artifact.status == Artifact.Status.INVALID:
        text = "; ".join(f"{name}: {fault}" for name, fault in artifact.errors.items())
        raise UnknownArtifact(
            f"{kind} {digest} did not pass its check: {text}", errors={field: text}
        )
    return artifact


def mismatches(*, expected: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """Compare tensors by name, shape and dtype; at most the first ten differences."""
    faults: dict[str, str] = {}
    for name in sorted(set(expected) | set(given)):
        if name not in given:
            faults[name] = "missing"
        elif name not in expected:
            faults[name] = "the program knows no such tensor"
        elif any(
            list_or(given[name][key]) != list_or(expected[name][key]) for key in ("shape", "dtype")
        ):
            faults[name] = f"is {_shown(given[name])}, the program expects {_shown(expected[name])}"
    return dict(list(faults.items())[:10])


def list_or(value: Any) -> Any:
    """Return tuples as lists, so that shapes from JSON and from code compare."""
    return list(value) if isinstance(value, tuple) else value


def _shown(tensor: Mapping[str, Any]) -> str:
    return f"{tensor['dtype']}{list(tensor['shape'])}"
