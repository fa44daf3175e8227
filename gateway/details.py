"""What a device is told of its assignment, from the rows."""

from __future__ import annotations

from datetime import datetime

from aggregation import tickets
from core import knobs
from jobs.models import Round
from jobs.selectors import AssignmentDetail
from propius import wire


def assignment(detail: AssignmentDetail, *, now: datetime) -> wire.Assignment:
    """Return the message; durations, never clock times, for the device's clock may be wrong."""
    spec = detail.spec
    left_s = (detail.ends_at - now).total_seconds()
    if detail.round_status == Round.Status.SELECTING:
        left_s += spec["rounds"]["deadline_s"]
    program = None
    if detail.program_digest is not None:
        program = wire.Blob(digest=detail.program_digest, size_bytes=detail.program_size)
    return wire.Assignment(
        id=str(detail.id),
        job=str(detail.job_id),
        job_name=detail.job_name,
        tenant=detail.tenant_slug,
        round=str(detail.round_id),
        number=detail.number,
        attempt=detail.attempt,
        kind=detail.kind,  # type: ignore[arg-type]
        workload=spec["workload"],
        constraints=spec["constraints"]["private"],
        parameters=wire.Blob(digest=detail.base_digest, size_bytes=detail.base_size),
        program=program,
        codec=spec["codec"],
        max_update_bytes=detail.max_update_bytes,
        seed=detail.seed,
        start_s=knobs.get().start_lease_s,
        lease_s=knobs.get().lease_s,
        deadline_s=max(0.0, left_s),
        ticket=tickets.issue(assignment_id=detail.id, direction="upload", digest="", now=now),
    )
