"""What a driven job's rounds begin from and end with: parameters of its own, and sums.

Importing this imports no torch: the web serves these sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import jobs.services
from aggregation import artifacts, blobs, expected
from aggregation.models import RoundSum
from aggregation.selectors import VersionReleased
from core.errors import NotFound
from jobs.models import Artifact, Job, Round


class SumUnknown(NotFound):
    """The job has no such round, or it has no sum (yet)."""

    code = "sum_unknown"


@dataclass(frozen=True, slots=True)
class Download:
    """A sum's file."""

    found: RoundSum
    path: Path


def store_parameters(*, job_id: UUID, stream: Iterable[bytes], now: datetime) -> Artifact:
    """Keep a safetensors file for a round of a driven job; it goes with that round.

    Raises JobUnknown, NotDriven, ParametersMismatch, and what artifacts.store_parameters raises.
    """
    job = jobs.services.require_driven(job_id)

    def check(given: dict[str, object]) -> None:
        faults = jobs.services.mismatches(expected=expected.given(job), given=given)
        if faults:
            raise jobs.services.ParametersMismatch(
                "the parameters are not those that the job began with: "
                + "; ".join(f"{name}: {fault}" for name, fault in faults.items()),
                errors={f"parameters.{name}": fault for name, fault in faults.items()},
            )

    return artifacts.store_parameters(
        tenant_id=job.tenant_id, stream=stream, now=now, kind=Artifact.Kind.ROUND, check=check
    )


def sum_of(*, job_id: UUID, number: int) -> RoundSum:
    """Return a round's sum. Raises SumUnknown, in words."""
    found = RoundSum.objects.select_related("round").filter(round__job_id=job_id)
    row = found.filter(round__number=number).first()
    if row is None:
        raise SumUnknown(_why_none(job_id, number))
    return row


def download(*, job_id: UUID, number: int) -> Download:
    """Find a sum's file. Raises SumUnknown, VersionReleased."""
    row = sum_of(job_id=job_id, number=number)
    if row.released_at is not None:
        raise VersionReleased(
            f"the tensors of the sum of round {number} were released by the job's retention"
        )
    return Download(row, blobs.store().path(row.digest))


def release(job: Job, *, now: datetime) -> int:
    """Let the sums go that the job's retention does not keep; returns how many."""
    held = RoundSum.objects.filter(round__job=job, released_at=None).order_by("-round__number")
    gone = list(held.values_list("pk", flat=True)[job.spec["retention"]["versions"] :])
    return RoundSum.objects.filter(pk__in=gone).update(released_at=now)


def _why_none(job_id: UUID, number: int) -> str:
    round_ = Round.objects.filter(job_id=job_id, number=number, kind=Round.Kind.TRAIN).last()
    if round_ is None:
        return f"job {job_id} has no round {number}"
    if round_.status != Round.Status.FINISHED:
        return f"round {number} is {round_.status}: its sum is there when it has ended"
    return f"round {number} has no sum: {round_.outcome} {round_.reason.get('message', '')}".strip()
