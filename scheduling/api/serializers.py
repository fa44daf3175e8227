"""Shapes of the scheduler's answers."""

from __future__ import annotations

from rest_framework import serializers

from clients.selectors import SMALL


class PolicySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """The policy by which devices are shared now."""

    name = serializers.CharField()
    parameters = serializers.DictField()


class AheadSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """A round of one's own that is served before."""

    round_id = serializers.UUIDField()
    job_id = serializers.UUIDField()
    job_name = serializers.CharField()
    rule = serializers.CharField(help_text="priority, or the policy's name")
    slots = serializers.IntegerField()


class TenantPartSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What the tenant holds of what it may, and of all devices that are bound now."""

    held = serializers.IntegerField()
    allowed = serializers.IntegerField(allow_null=True)
    guarantee = serializers.IntegerField()
    lending_limit = serializers.IntegerField(
        allow_null=True,
        help_text="Of the guarantee, what others may have meanwhile; null is all of it",
    )
    weight = serializers.FloatField()
    of_bound = serializers.FloatField(allow_null=True)
    of_weights = serializers.FloatField(allow_null=True)


class RefusalSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Why devices refused the job since its round opened, or in the last hour."""

    code = serializers.CharField(help_text="As in dataset.x.shape; what is not known is other")
    devices = serializers.IntegerField(
        allow_null=True, help_text=f"Null for fewer than {SMALL}, unless all pools are one's own"
    )


class ExplanationSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Why a job waits, and for how long likely."""

    code = serializers.CharField()
    message = serializers.CharField()
    numbers = serializers.DictField()
    waited_s = serializers.FloatField(allow_null=True)
    likely_s = serializers.FloatField(allow_null=True, help_text="None if it cannot be told")
    window_s = serializers.FloatField(allow_null=True, help_text="Until its window ends")
    needed = serializers.IntegerField()
    idle = serializers.IntegerField(
        allow_null=True, help_text=f"Connected and free; null for fewer than {SMALL}"
    )
    bound_elsewhere = serializers.IntegerField(
        allow_null=True, help_text=f"Connected and at other work; null for fewer than {SMALL}"
    )
    position = serializers.IntegerField(allow_null=True, help_text="1 is next")
    rounds_ahead = serializers.IntegerField()
    slots_ahead = serializers.IntegerField()
    ahead_by_priority = serializers.IntegerField()
    named = AheadSerializer(many=True)
    refusals = RefusalSerializer(many=True)
    policy = serializers.CharField()
    rule = serializers.CharField()
    tenant = TenantPartSerializer(allow_null=True)


class TenantReplaySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What a replay brought one tenant."""

    tenant = serializers.CharField()
    jobs = serializers.IntegerField()
    finished = serializers.IntegerField()
    mean_completion_s = serializers.FloatField(allow_null=True)
    waiting_s = serializers.FloatField(allow_null=True)
    device_s = serializers.FloatField()


class ReplaySerializer(serializers.Serializer):  # type: ignore[type-arg]
    """What a policy made of recorded hours."""

    policy = serializers.CharField()
    jobs = serializers.IntegerField()
    finished = serializers.IntegerField()
    mean_completion_s = serializers.FloatField(allow_null=True)
    median_completion_s = serializers.FloatField(allow_null=True)
    waiting_s = serializers.FloatField(allow_null=True)
    rounds_aborted = serializers.IntegerField()
    utilisation = serializers.FloatField(allow_null=True)
    tenants = TenantReplaySerializer(many=True)
