"""The policy in force, for every tenant to read, and what it means for a job."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.models import Job
from jobs.services import JobUnknown
from scheduling import explaining, selectors
from scheduling.api.serializers import ExplanationSerializer, PolicySerializer
from tenants import access
from tenants.views import TenantView


class PolicyView(TenantView):
    """How devices are shared among all tenants' jobs."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(responses=PolicySerializer)
    def get(self, request: Request) -> Response:
        """Show the policy's name and parameters; who chose it and why is the operator's."""
        return Response(PolicySerializer(selectors.active_policy()).data)


class ExplanationView(TenantView):
    """Why a job waits."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(responses=ExplanationSerializer)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Show position, devices, who is ahead by which rule, the tenant's part, the likely wait.

        Jobs of other tenants are counted and not named.
        """
        job = Job.objects.filter(id=job_id).first()
        if job is None:
            raise JobUnknown(f"no job {job_id}")
        return Response(ExplanationSerializer(explaining.explain(job, now=timezone.now())).data)
