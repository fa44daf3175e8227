"""What devices are like, by attribute, as the page of devices tells it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from clients import selectors as client_selectors
from jobs.distributions import Bar, Distribution, distributions
from jobs.shapes import CountSerializer
from tenants import access
from tenants.views import TenantView, caller


class DistributionFilterSerializer(serializers.Serializer[dict[str, Any]]):
    """Of which devices."""

    pool = serializers.CharField(max_length=60, required=False)


class DistributionBarSerializer(serializers.Serializer[Bar]):
    """Devices of one value, or with ``low`` and ``high`` of one range; neither: other values."""

    value = serializers.CharField(source="value.exact", allow_null=True, allow_blank=True)
    low = serializers.FloatField(
        source="value.low", allow_null=True, help_text="Where the range begins"
    )
    high = serializers.FloatField(
        source="value.high", allow_null=True, help_text="Below which it ends"
    )
    devices = CountSerializer(source="figure")


class DistributionSerializer(serializers.Serializer[Distribution]):
    """One attribute of the schema, and how many devices have which value of it."""

    name = serializers.CharField()
    unit = serializers.CharField(allow_blank=True)
    description = serializers.CharField(allow_blank=True)
    bars = DistributionBarSerializer(many=True, help_text="In order; other values come last")


class DistributionListView(GenericAPIView, TenantView):  # type: ignore[type-arg]
    """How many devices have which attributes."""

    scope_of = {"GET": access.READ_DEVICES}
    serializer_class = DistributionSerializer
    pagination_class = None

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "pool", str, description="Name or id of the pool; without it, all of them"
            )
        ]
    )
    def get(self, request: Request) -> Response:
        """Count the devices of the pools that the tenant may use, attribute by attribute.

        Rare values of shared devices are counted together, and small counts bounded.
        """
        asked = DistributionFilterSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        name = asked.validated_data.get("pool")
        pools = client_selectors.pools_for(caller(request).tenant_id)
        found = distributions(
            [one.id for one in pools],
            shown=[one.id for one in pools if name in (None, one.name, str(one.id))],
        )
        return Response(self.get_serializer(found, many=True).data)
