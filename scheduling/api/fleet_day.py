"""The fleet over the last day, as the overview's charts and tables tell it."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.shapes import CountSerializer
from scheduling import day
from scheduling.day import Day, Share, Stretch
from scheduling.tier_counts import Tier, TierStretch
from tenants import access
from tenants.views import TenantView, caller


class WorkShareSerializer(serializers.Serializer[Share]):
    """Which part of the connected devices was at work."""

    percent = serializers.IntegerField()
    exact = serializers.BooleanField(
        source="is_exact", help_text="false: counts behind it are bounded"
    )


class FleetQuarterSerializer(serializers.Serializer[Stretch]):
    """Devices on average over a quarter of an hour."""

    at = serializers.DateTimeField(help_text="When it began")
    mine = serializers.IntegerField(source="mine.own", help_text="At work for the caller's tenant")
    others = CountSerializer(help_text="At work for others")
    idle = CountSerializer()
    bound = CountSerializer(help_text="At work, for whichever tenant")
    online = CountSerializer()
    asked = CountSerializer(help_text="Asked for by rounds: at work, or still wanted")


class FleetTierSerializer(serializers.Serializer[Tier]):
    """Devices of one speed class; 1 is the fastest."""

    number = serializers.IntegerField()
    least_score = serializers.FloatField(
        source="least", help_text="CPU score from which it counts; 0: below, or not told"
    )
    online = CountSerializer()
    idle = CountSerializer()
    bound = CountSerializer(help_text="At work")


class FleetTierQuarterSerializer(serializers.Serializer[TierStretch]):
    """Tiers in the last minute of a quarter of an hour."""

    at = serializers.DateTimeField(help_text="When it began")
    tiers = FleetTierSerializer(many=True)


class FleetDaySerializer(serializers.Serializer[Day]):
    """The last 24 hours of all pools that the tenant may use. What was not counted is left out."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    at_work = WorkShareSerializer(
        source="average", allow_null=True, help_text="Over the day; null if nobody was connected"
    )
    at_work_now = WorkShareSerializer(
        source="newest", allow_null=True, help_text="In the newest quarter of an hour"
    )
    quarters = FleetQuarterSerializer(source="stretches", many=True, help_text="Oldest first")
    tiers = FleetTierSerializer(
        many=True, help_text="Now; empty unless the policy tells speed classes apart"
    )
    tiers_by_quarter = FleetTierQuarterSerializer(
        source="by_tier", many=True, help_text="Oldest first"
    )


class FleetDayView(TenantView):
    """The fleet's last day."""

    scope_of = {"GET": access.READ_DEVICES}

    @extend_schema(responses=FleetDaySerializer)
    def get(self, request: Request) -> Response:
        """Tell what devices did, and what was asked for, by the quarter of an hour.

        Counted once a minute. What would tell of single shared devices is bounded.
        """
        found = day.day(tenant_id=caller(request).tenant_id, now=timezone.now())
        return Response(FleetDaySerializer(found).data)
