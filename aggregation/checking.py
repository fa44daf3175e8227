"""Check an uploaded program by running it once, in a capped child without secrets."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import numpy as np

import jobs.services
from aggregation import blobs
from core import knobs
from jobs.models import Artifact
from propius.arrays import NUMPY_DTYPES, save_file
from propius.program import container
from propius.program.errors import ProgramError
from propius.tensors import TensorInfo
from propius.training import check

logger = logging.getLogger(__name__)

GIVE_UP_AFTER = timedelta(minutes=10)


def check_program(*, tenant_id: UUID, digest: str, now: datetime) -> None:
    """Settle a program that is being checked; one that is settled already stays as it is."""
    waiting = Artifact.objects.filter(
        tenant_id=tenant_id,
        kind=Artifact.Kind.PROGRAM,
        digest=digest,
        status=Artifact.Status.CHECKING,
    )
    artifact = waiting.first()
    if artifact is None:
        return
    try:
        errors = _faults(digest)
    except Exception:
        # The edge: the sweep tries again, but a job must not wait for its program for ever.
        logger.exception("program.check_crashed", extra={"tenant": tenant_id, "program": digest})
        if now - artifact.created_at < GIVE_UP_AFTER:
            return
        minutes = GIVE_UP_AFTER.total_seconds() / 60
        errors = {"program": f"it could not be checked for {minutes:g} minutes; tell the operator"}
    jobs.services.settle_artifact(
        tenant_id=tenant_id,
        kind=Artifact.Kind.PROGRAM,
        digest=digest,
        status=Artifact.Status.INVALID if errors else Artifact.Status.VALID,
        tensors=artifact.tensors,
        errors=errors,
        now=now,
    )


def _faults(digest: str) -> dict[str, str]:
    """Run the program on random data and a stand-in model; returns what is wrong, by field."""
    path = blobs.store().path(digest)
    limits = knobs.get()
    try:
        wanted = container.load(path).expected()
    except ProgramError as error:
        return {error.field: str(error)}
    size = sum(info.size_bytes for info in wanted.values())
    room = limits.program_check_memory_mb << 18  # a quarter: weights, gradients and two steps
    if size > room:
        return {"manifest.json.parameters": f"the model has {size} bytes; the check holds {room}"}
    with tempfile.TemporaryDirectory() as folder:
        parameters = Path(folder) / "stand-in.safetensors"
        _write_stand_in(wanted, parameters)
        report = check.check_program(
            path,
            parameters,
            memory_mb=limits.program_check_memory_mb,
            timeout_s=limits.program_check_s,
        )
    return {fault.field or fault.code: fault.message for fault in report.errors}


def _write_stand_in(wanted: Mapping[str, TensorInfo], path: Path) -> None:
    """Small positive numbers: variances stay positive, and deep nets stay finite."""
    random = np.random.default_rng(0)
    arrays = {}
    for name, info in wanted.items():
        dtype = NUMPY_DTYPES[info.dtype]
        if dtype.kind == "f":
            arrays[name] = random.uniform(0.01, 0.1, info.shape).astype(dtype)
        else:
            arrays[name] = np.zeros(info.shape, dtype)
    save_file(arrays, path)
