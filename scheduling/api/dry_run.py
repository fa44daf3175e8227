"""What would come of a job file, and how many devices meet constraints; nothing is written."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Invalid
from scheduling import dry_run, eligibility
from scheduling.api.serializers import RefusalSerializer
from tenants import access
from tenants.views import TenantView, caller


class ToldSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A count; of shared pools only bounds, where the count could tell of single devices."""

    least = serializers.IntegerField()
    most = serializers.IntegerField()


class FittingSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Devices of the pools in question, and those of them that fit."""

    devices = ToldSerializer(help_text="All that are enrolled in these pools")
    known = ToldSerializer(help_text="That fit")
    day = ToldSerializer(help_text="That fit and were there within the last day")
    online = ToldSerializer(help_text="That fit and are online now")


class DryRunSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What would come of a job file."""

    decision = serializers.ChoiceField(
        choices=["invalid", "admitted", "queued", "rejected"],
        help_text="invalid: see errors; else what admission would decide now",
    )
    reason = serializers.CharField()
    code = serializers.CharField(allow_blank=True)
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.CharField(), help_text="What is wrong, by field of the file"
    )
    fitting = FittingSerializer(allow_null=True)
    demand = serializers.IntegerField()
    granted = serializers.IntegerField(help_text="Devices that a round may ask for at least")
    target = serializers.IntegerField(help_text="Devices that the first round would bind at least")
    fill_s = serializers.FloatField(
        allow_null=True,
        help_text=(
            "Until so many are there, as devices came in the last hour, if nobody goes first; "
            "null if none that fits came"
        ),
    )
    round_s = serializers.FloatField(
        allow_null=True, help_text="From then to the close of the first round, see round_by"
    )
    round_by = serializers.ChoiceField(
        choices=["", "learnt", "deadline"],
        help_text=(
            "learnt: as a round of the tenant's newest job of the same workload took; deadline: at "
            "most so long, nothing is learnt yet; empty beside errors"
        ),
    )
    refusals = RefusalSerializer(
        many=True,
        help_text=(
            "Why devices refused the tenant's newest jobs that ask for the same data, in the last "
            "three hours"
        ),
    )
    training = ToldSerializer(
        allow_null=True,
        help_text="About how many of fitting.day are left to train; null if none is held out",
    )
    evaluation = ToldSerializer(
        allow_null=True, help_text="About how many of fitting.day are held out for evaluation"
    )


class EligibilityQuerySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Public constraints, as a job file has them."""

    public = serializers.DictField(default=dict, help_text="Attribute to condition")
    pools = serializers.ListField(
        child=serializers.CharField(max_length=100), default=list, max_length=50,
        help_text="Names; none is all that the tenant may use",
    )  # fmt: skip


class DryRunView(TenantView):
    """Tries a job file."""

    scope_of = {"POST": access.WRITE_JOBS}

    @extend_schema(
        operation_id="jobs_dry_run",
        request={"application/json": {"type": "object", "description": "A job file"}},
        responses=DryRunSerializer,
    )
    def post(self, request: Request) -> Response:
        """Check a job file as a submission would, and say what would come of it. Writes nothing."""
        raw: Any = request.data
        if not isinstance(raw, dict):
            raise Invalid(f"a job is an object, not {type(raw).__name__}")
        me = caller(request)
        found = dry_run.rehearse(
            tenant_id=me.tenant_id, raw=raw, submitted_by=me.name, now=timezone.now()
        )
        return Response(DryRunSerializer(found).data)


class EligibilityView(TenantView):
    """Counts the devices that meet public constraints."""

    scope_of = {"POST": access.READ_DEVICES}

    @extend_schema(
        operation_id="eligibility_count",
        request=EligibilityQuerySerializer,
        responses=FittingSerializer,
    )
    def post(self, request: Request) -> Response:
        """Count the devices that meet public constraints. Writes nothing."""
        asked = EligibilityQuerySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        found = eligibility.of_constraints(
            tenant_id=caller(request).tenant_id, **asked.validated_data, now=timezone.now()
        )
        return Response(FittingSerializer(found).data)
