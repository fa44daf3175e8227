"""How much the caller's tenant may have in all, and what it has."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from scheduling import quotas
from tenants import access
from tenants.views import TenantView, caller

BOUNDS = ("jobs", "devices", "device_hours", "stored_bytes")


class BoundSerializer(serializers.Serializer[dict[str, Any]]):
    """What is used, and what is allowed; null is no bound."""

    used = serializers.FloatField()
    allowed = serializers.FloatField(allow_null=True)


class QuotaSerializer(serializers.Serializer[dict[str, Any]]):
    """The tenant's quota."""

    jobs = BoundSerializer(help_text="Admitted, not finished")
    devices = BoundSerializer(help_text="At once")
    device_hours = BoundSerializer(help_text="In this calendar month (UTC)")
    stored_bytes = BoundSerializer(help_text="Programs, parameters and model versions")


class QuotaView(TenantView):
    """How much the tenant may have in all."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(responses=QuotaSerializer)
    def get(self, request: Request) -> Response:
        """Show what the tenant uses of its quota; who set it and why is the operator's."""
        tenant_id = caller(request).tenant_id
        allowed = quotas.quota_of(tenant_id)
        used = quotas.usage(tenant_id, now=timezone.now())
        found = {
            name: {"used": getattr(used, name), "allowed": getattr(allowed, name, None)}
            for name in BOUNDS
        }
        return Response(QuotaSerializer(found).data)
