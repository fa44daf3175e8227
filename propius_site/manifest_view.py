"""The manifest of a job over REST: it tells of both planes, so it stands above them."""

from __future__ import annotations

import platform
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

import aggregation.manifests
import scheduling.selectors
from core.errors import Invalid
from core.version import VERSION
from jobs import services
from jobs.models import Job, Round
from propius.manifest import SCHEMA, Manifest, ManifestPolicy
from tenants import access
from tenants.views import TenantView


class ManifestView(TenantView):
    """How a job's model came to be."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "after", UUID, description="Rounds that opened after this one: `next` of an answer"
            )
        ],
        responses={200: {"$ref": "#/components/schemas/Manifest"}},
    )
    def get(self, request: Request, job_id: UUID) -> Response:
        """Show the job's spec, digests and seed, and of each round what went into its version.

        The first 50 rounds, or fewer with large cohorts; `next` asks for more. Devices are told
        under the names of the events; what one of them measured is not told.
        """
        job = Job.objects.select_related("tenant").filter(id=job_id).first()
        if job is None:
            raise services.JobUnknown(f"no job {job_id}")
        after = _round_id(request.query_params.get("after", ""))
        return Response(msgspec.to_builtins(_manifest(job, after)))


def _manifest(job: Job, after: UUID | None) -> Manifest:
    rows, more = aggregation.manifests.page(job, after=after)
    policies = _policies(rows)
    return Manifest(
        schema=SCHEMA,
        job=str(job.id),
        name=job.name,
        tenant=job.tenant.slug,
        status=job.status,
        outcome=job.outcome,
        submitted_at=job.submitted_at,
        finished_at=job.finished_at,
        spec=job.spec,
        seed=job.spec["seed"],
        **_blobs(job),
        platform={"platform": VERSION, "python": platform.python_version()},
        policies=policies,
        rounds=aggregation.manifests.rounds(job, rows, lambda one: _in_force(policies, one)),
        next=str(rows[-1].id) if more else None,
    )


def _blobs(job: Job) -> dict[str, Any]:
    return dict(aggregation.manifests.blobs(job))


def _policies(rows: list[Round]) -> list[ManifestPolicy]:
    if not rows:
        return []
    since, until = rows[0].opened_at, max(_end(one) for one in rows)
    return [
        ManifestPolicy(version=version, name=one.name, parameters=one.parameters, since=one.since)
        for version, one in scheduling.selectors.policies_between(since, until)
    ]


def _in_force(policies: list[ManifestPolicy], round_: Round) -> list[ManifestPolicy]:
    """Return those that came before the round's close and did not end before it opened."""
    ends = [*(one.since for one in policies[1:]), None]
    return [
        one
        for one, over in zip(policies, ends, strict=True)
        if (one.since is None or one.since <= _end(round_))
        and (over is None or over > round_.opened_at)
    ]


def _end(round_: Round) -> datetime:
    return round_.closed_at or round_.finished_at or timezone.now()


def _round_id(text: str) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        fault = f"{text[:40]!r}; the id of a round is allowed"
        raise Invalid("after is no round", errors={"after": fault}) from error
