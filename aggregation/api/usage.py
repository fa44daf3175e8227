"""What the caller's tenant has used."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from aggregation import usage
from core.strict import StrictSerializer
from tenants import access
from tenants.views import TenantView

MOST_DAYS = 366


class UsageLineSerializer(serializers.Serializer[usage.Line]):
    """A job's use on one day (UTC) in which rounds of it closed."""

    day = serializers.DateField()
    job_id = serializers.UUIDField()
    job = serializers.CharField(help_text="Its name")
    member = serializers.CharField(help_text="Who submitted it")
    rounds = serializers.IntegerField()
    assignments = serializers.IntegerField()
    reported = serializers.IntegerField()
    device_seconds = serializers.FloatField()
    down_bytes = serializers.IntegerField(help_text="Parameters handed to devices")
    up_bytes = serializers.IntegerField(help_text="Updates taken from them")


class UsageSerializer(serializers.Serializer[dict[str, list[usage.Line]]]):
    """A line for each job and day."""

    results = UsageLineSerializer(many=True)


class _Asked(StrictSerializer):
    days = serializers.IntegerField(min_value=1, max_value=MOST_DAYS, default=30)


class UsageView(TenantView):
    """The tenant's use of the fleet."""

    scope_of = {"GET": access.READ_JOBS}

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "days", {"type": "integer", "minimum": 1, "maximum": MOST_DAYS, "default": 30}
            )
        ],
        responses=UsageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List use by job and day, the newest day first; today's is as of now."""
        asked = _Asked(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        found = usage.lines(days=asked.validated_data["days"], now=timezone.now())
        return Response(UsageSerializer({"results": found}).data)
