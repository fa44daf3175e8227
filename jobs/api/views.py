"""Submit, list, show and steer jobs; list their rounds."""

import time
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.decorators import method_decorator
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from core import knobs
from core.errors import Invalid
from core.parsing import StrictJson
from jobs import selectors, services
from jobs.api import serializers
from jobs.models import Job, Round
from tenants import access, scopes
from tenants.views import TenantView, caller

POLL_S = 0.05
MAX_KEY = 100
STATUSES = [*Job.Status.values, *Job.Outcome.values]


# The answer to a submission is its admission, which another process decides once the job is
# committed: so this view opens its own transactions.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class JobListView(GenericAPIView[Job]):
    """The tenant's jobs."""

    parser_classes = [StrictJson]
    scope_of = {"GET": access.READ_JOBS, "POST": access.WRITE_JOBS}
    serializer_class = serializers.JobSerializer
    queryset = Job.objects.all()

    @extend_schema(
        parameters=[
            OpenApiParameter("status", str, enum=STATUSES, description="State or outcome"),
            OpenApiParameter("name", str, description="Part of the name"),
        ]
    )
    def get(self, request: Request) -> Response:
        """List jobs, newest first."""
        with scopes.scope(caller(request).tenant_id):
            page = self.paginate_queryset(self._filtered(request)) or []
            current = selectors.current_rounds(page)
            shapes = self.get_serializer(page, many=True, context={"current": current})
            return self.get_paginated_response(shapes.data)

    @extend_schema(
        request={"application/json": {"type": "object", "description": "A job file"}},
        parameters=[
            OpenApiParameter(
                "Idempotency-Key", str, OpenApiParameter.HEADER, description="A replay's guard"
            )
        ],
        responses={200: serializers.JobSerializer, 201: serializers.JobSerializer},
    )
    def post(self, request: Request) -> Response:
        """Submit a job. Waits up to 2 s for its admission; a replay gives the first job."""
        tenant_id = caller(request).tenant_id
        with scopes.scope(tenant_id):
            job, created = services.submit(
                tenant_id=tenant_id,
                raw=_object(request.data),
                submitted_by=caller(request).name,
                idempotency_key=_idempotency_key(request),
                now=timezone.now(),
            )
        until = time.monotonic() + knobs.get().admission_wait_s
        # A queued job says so in its reason: its decision has been made, for now.
        while job.status == Job.Status.SUBMITTED and not job.reason and time.monotonic() < until:
            time.sleep(POLL_S)
            with scopes.scope(tenant_id):
                job.refresh_from_db()
        with scopes.scope(tenant_id):
            shape = serializers.JobSerializer(job).data
        location = {"Location": f"/api/v1/jobs/{job.id}"}
        return Response(shape, status=201 if created else 200, headers=location)

    def _filtered(self, request: Request) -> Any:
        rows = self.get_queryset()
        status = request.query_params.get("status")
        if status and status not in STATUSES:
            raise Invalid(
                f"status {status!r} is not known",
                errors={"status": f"{status!r}; allowed are {', '.join(STATUSES)}"},
            )
        if status in Job.Outcome.values:
            rows = rows.filter(outcome=status)
        elif status:
            rows = rows.filter(status=status)
        if name := request.query_params.get("name"):
            if "\0" in name:
                raise Invalid("name holds a NUL", errors={"name": "text without NUL is allowed"})
            rows = rows.filter(name__icontains=name)
        return rows


class JobView(TenantView):
    """One job."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(responses=serializers.JobSerializer)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Show the job, with what it waits for in words and numbers."""
        return Response(serializers.JobSerializer(_job(job_id)).data)


class JobActionView(TenantView):
    """Steers one job: cancel, pause, resume."""

    scope_of = {"POST": access.WRITE_JOBS}
    action = ""

    @extend_schema(request=None, responses=serializers.JobSerializer)
    def post(self, request: Request, job_id: UUID) -> Response:
        """Do it, and show the job as it is then."""
        service = {
            "cancel": services.cancel,
            "pause": services.pause,
            "resume": services.resume,
        }[self.action]
        job = service(job_id=job_id, actor=caller(request).name, now=timezone.now())
        return Response(serializers.JobSerializer(job).data)


class RoundListView(TenantView, GenericAPIView[Round]):
    """The rounds of one job."""

    scope_of = {"GET": access.READ_JOBS}
    serializer_class = serializers.RoundSerializer
    queryset = Round.objects.all()

    def get(self, request: Request, job_id: UUID) -> Response:
        """List the rounds, newest first."""
        page = self.paginate_queryset(self.get_queryset().filter(job=_job(job_id)))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


def _job(job_id: UUID) -> Job:
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        raise services.JobUnknown(f"no job {job_id}")
    return job


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Invalid(f"a job is an object, not {type(data).__name__}")
    return data


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= MAX_KEY and key.isprintable()):
        raise Invalid(
            "the Idempotency-Key is too long, empty or not printable",
            errors={
                "Idempotency-Key": (
                    f"{len(key)} characters; 1 to {MAX_KEY} printable ones are allowed"
                )
            },
        )
    return key
