"""The policy in force, for every tenant to read."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from scheduling import selectors
from scheduling.api.serializers import PolicySerializer
from tenants import access
from tenants.views import TenantView


class PolicyView(TenantView):
    """How devices are shared among all tenants' jobs."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(responses=PolicySerializer)
    def get(self, request: Request) -> Response:
        """Show the policy's name and parameters; who chose it and why is the operator's."""
        return Response(PolicySerializer(selectors.active_policy()).data)
