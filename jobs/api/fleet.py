"""How many devices there are and what they do, as the pages tell it."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import fleet
from jobs.fleet import PoolNow
from jobs.shapes import CountSerializer
from tenants import access
from tenants.views import TenantView, caller


class PoolNowSerializer(serializers.Serializer[PoolNow]):
    """One pool; its online devices are at work or idle."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    shared = serializers.BooleanField(source="is_shared")
    devices = CountSerializer()
    online = CountSerializer(help_text="Seen within the last minute")
    bound = CountSerializer(help_text="At work, for whichever tenant")
    mine = serializers.IntegerField(help_text="At work for the caller's tenant")
    idle = CountSerializer()
    offline = CountSerializer()


class FleetSerializer(serializers.Serializer[dict[str, Any]]):
    """All pools that the tenant may use, and their sums."""

    devices = CountSerializer()
    online = CountSerializer()
    pools = PoolNowSerializer(many=True)


class FleetView(TenantView):
    """The fleet now."""

    scope_of = {"GET": access.READ_DEVICES}

    @extend_schema(responses=FleetSerializer)
    def get(self, request: Request) -> Response:
        """Count the devices of each pool. What would tell of single shared ones is bounded."""
        pools = fleet.pools_now(tenant_id=caller(request).tenant_id, now=timezone.now())
        found = {
            "devices": fleet.total(pool.devices for pool in pools),
            "online": fleet.total(pool.online for pool in pools),
            "pools": pools,
        }
        return Response(FleetSerializer(found).data)
