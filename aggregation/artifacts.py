"""Take programs and parameters from tenants: streamed to disk, checked, and only then a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction

import jobs.services
from aggregation import blobs, expected, ownership
from core import hints, knobs
from core.errors import Unprocessable
from jobs.models import Artifact
from propius import codec, tensors
from propius.program import container
from propius.program.errors import ProgramError
from propius.tensors import TensorError


class BadParameters(Unprocessable):
    """The file is no acceptable set of tensors."""

    code = "bad_parameters"


class BadProgram(Unprocessable):
    """The file is no acceptable program."""

    code = "bad_program"


def store_parameters(
    *,
    tenant_id: UUID,
    stream: Iterable[bytes],
    now: datetime,
    kind: str = Artifact.Kind.PARAMETERS,
    check: Callable[[dict[str, object]], None] | None = None,
) -> Artifact:
    """Keep a safetensors file as parameters; the same bytes again are the same artifact.

    ``check`` may refuse it by its tensors (name to shape and dtype).

    Raises BadParameters, BlobTooLarge, StorageFull; then nothing is kept.
    """
    with blobs.store().writer(limit=knobs.get().max_parameters_bytes) as writer:
        for chunk in stream:
            writer.write(chunk)
        try:
            header = tensors.read_header(writer.path)
            tensors.check_finite(writer.path)
        except TensorError as error:
            raise BadParameters(str(error), errors={error.field: str(error)}) from error
        if not any(info.dtype in codec.FLOATS and info.size_bytes for info in header.values()):
            text = f"no tensor has a float dtype; one of {', '.join(codec.FLOATS)} is needed"
            raise BadParameters(text, errors={"tensors": text})
        found = expected.as_json(header)
        if check is not None:
            check(found)
        return _register(tenant_id, kind, Artifact.Status.VALID, writer, found, now)


def store_program(*, tenant_id: UUID, stream: Iterable[bytes], now: datetime) -> Artifact:
    """Keep a program whose container is sound; its run is checked on queue ``batch``.

    Raises BadProgram, BlobTooLarge, StorageFull; then nothing is kept.
    """
    with blobs.store().writer(limit=knobs.get().max_program_bytes) as writer:
        for chunk in stream:
            writer.write(chunk)
        try:
            program = container.load(writer.path)
        except ProgramError as error:
            refused = BadProgram(str(error), errors={error.field: str(error)})
            refused.code = error.code
            raise refused from error
        found = expected.as_json(program.expected(), program.rules())
        return _register(
            tenant_id, Artifact.Kind.PROGRAM, Artifact.Status.CHECKING, writer, found, now
        )


def _register(
    tenant_id: UUID,
    kind: str,
    status: str,
    writer: blobs.Writer,
    found: dict[str, object],
    now: datetime,
) -> Artifact:
    digest = writer.commit()
    with transaction.atomic():
        ownership.claim(tenant_id=tenant_id, digest=digest, size_bytes=writer.size_bytes, now=now)
        artifact = jobs.services.register_artifact(
            tenant_id=tenant_id,
            kind=kind,
            digest=digest,
            size_bytes=writer.size_bytes,
            status=status,
            tensors=found,
            errors={},
            now=now,
        )
        if artifact.status == Artifact.Status.CHECKING:
            hints.send("aggregation.check_program", str(tenant_id), digest, queue="batch")
    return artifact
