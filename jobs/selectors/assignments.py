"""What devices hold, and what they are told with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count

from jobs.models import Artifact, Assignment


@dataclass(frozen=True, slots=True)
class AssignmentDetail:
    """All that a device is told with its assignment."""

    id: UUID
    device_id: UUID
    tenant_id: UUID
    tenant_slug: str
    job_id: UUID
    job_name: str
    round_id: UUID
    number: int
    attempt: int
    kind: str
    status: str
    accepted: bool
    spec: dict[str, Any] = field(repr=False)
    base_version: int
    base_digest: str
    base_size: int
    program_digest: str | None
    program_size: int
    frozen_digest: str | None
    frozen_size: int
    max_update_bytes: int
    seed: int
    round_status: str
    ends_at: datetime


def assignment_details(assignment_ids: Iterable[UUID]) -> dict[UUID, AssignmentDetail]:
    """Return what devices are told, by assignment."""
    rows = list(
        Assignment.objects.filter(id__in=list(assignment_ids)).select_related(
            "round", "job", "tenant"
        )
    )
    specs = [row.job.spec for row in rows]
    digests = {digest for spec in specs for digest in _named_blobs(spec)} - {None}
    sizes: dict[tuple[UUID, str], int] = {
        (tenant_id, digest): size
        for tenant_id, digest, size in Artifact.objects.filter(digest__in=digests).values_list(
            "tenant_id", "digest", "size_bytes"
        )
    }
    return {row.id: _detail(row, sizes) for row in rows}


def assignment_for_device(device_id: UUID) -> AssignmentDetail | None:
    """Return what the device holds, if anything."""
    held = Assignment.objects.filter(device_id=device_id, status=Assignment.Status.BOUND).first()
    return assignment_details([held.id]).get(held.id) if held else None


def assignments_for_devices(device_ids: Iterable[UUID]) -> dict[UUID, AssignmentDetail]:
    """Return, by device, what it holds; those that hold nothing are left out."""
    held = Assignment.objects.filter(
        device_id__in=list(device_ids), status=Assignment.Status.BOUND
    ).values_list("id", flat=True)
    found = list(held)
    return {one.device_id: one for one in assignment_details(found).values()} if found else {}


def assignments_known(assignment_ids: Iterable[UUID]) -> set[UUID]:
    """Return those that have a row."""
    return set(Assignment.objects.filter(id__in=list(assignment_ids)).values_list("id", flat=True))


def devices_seen(round_ids: Iterable[UUID]) -> dict[UUID, list[UUID]]:
    """Return, by round, every device that has held an assignment of it."""
    seen: dict[UUID, list[UUID]] = {}
    rows = Assignment.objects.filter(round_id__in=list(round_ids))
    for round_id, device_id in rows.values_list("round_id", "device_id"):
        seen.setdefault(round_id, []).append(device_id)
    return seen


def bound_by_tenant() -> dict[UUID, int]:
    """Return how many devices each tenant holds now."""
    rows = Assignment.objects.filter(status=Assignment.Status.BOUND).order_by()
    return dict(rows.values_list("tenant_id").annotate(Count("id")))


def _named_blobs(spec: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the digests of a job's program and of its frozen tensors."""
    return spec["workload"].get("program"), spec.get("frozen")


def _base(row: Assignment) -> tuple[int, str, int]:
    """Return the version that a device begins from: its own, or else its round's."""
    if row.base_version is None or row.base_size is None:
        return row.round.base_version, row.round.base_digest, row.round.base_size
    return row.base_version, row.base_digest, row.base_size


def _detail(row: Assignment, sizes: dict[tuple[UUID, str], int]) -> AssignmentDetail:
    spec = row.job.spec
    program, frozen = _named_blobs(spec)
    ends_at = row.round.deadline_at or row.round.selection_ends_at
    base_version, base_digest, base_size = _base(row)
    return AssignmentDetail(
        id=row.id,
        device_id=row.device_id,
        tenant_id=row.tenant_id,
        tenant_slug=row.tenant.slug,
        job_id=row.job_id,
        job_name=row.job.name,
        round_id=row.round_id,
        number=row.round.number,
        attempt=row.round.attempt,
        kind=row.round.kind,
        status=row.status,
        accepted=row.accepted_at is not None,
        spec=spec,
        base_version=base_version,
        base_digest=base_digest,
        base_size=base_size,
        program_digest=program,
        program_size=sizes.get((row.tenant_id, program), 0) if program else 0,
        frozen_digest=frozen,
        frozen_size=sizes.get((row.tenant_id, frozen), 0) if frozen else 0,
        max_update_bytes=spec["max_update_bytes"] or base_size + (1 << 20),
        seed=row.round.seed,
        round_status=row.round.status,
        ends_at=ends_at,
    )
