"""Shapes of pools, devices and enrolment."""

from typing import Any

from rest_framework import serializers

from clients.models import AttributeDefinition, Device, EnrolmentToken, Pool
from core.strict import StrictSerializer


class PoolSerializer(serializers.ModelSerializer[Pool]):
    """A pool that the tenant may use."""

    shared = serializers.BooleanField(source="is_shared", read_only=True)

    class Meta:
        model = Pool
        fields = ["id", "name", "shared", "created_at"]
        read_only_fields = fields


class NewPoolSerializer(StrictSerializer):
    """What is asked of a new private pool."""

    name = serializers.SlugField(max_length=60)


class EnrolmentTokenSerializer(serializers.ModelSerializer[EnrolmentToken]):
    """An enrolment token without its secret."""

    pool = serializers.CharField(source="pool.name", read_only=True)

    class Meta:
        model = EnrolmentToken
        fields = [
            "id", "pool", "name", "start", "max_uses", "uses", "created_by", "created_at",
            "expires_at", "revoked_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewEnrolmentTokenSerializer(StrictSerializer):
    """What is asked of a new enrolment token."""

    name = serializers.CharField(max_length=100)
    max_uses = serializers.IntegerField(min_value=1, max_value=1_000_000)
    expires_at = serializers.DateTimeField()


class CreatedEnrolmentTokenSerializer(EnrolmentTokenSerializer):
    """An enrolment token just created, with the secret that is shown once."""

    secret = serializers.SerializerMethodField()

    class Meta(EnrolmentTokenSerializer.Meta):
        fields = [*EnrolmentTokenSerializer.Meta.fields, "secret"]
        read_only_fields = fields

    def get_secret(self, token: EnrolmentToken) -> str:
        """Return the secret, which the view knows and the row does not."""
        return str(self.context["secret"])


class DeviceSerializer(serializers.ModelSerializer[Device]):
    """A device of the tenant's own pool."""

    pool = serializers.CharField(source="pool.name", read_only=True)

    class Meta:
        model = Device
        fields = [
            "id", "name", "pool", "status", "sdk", "attributes", "workloads", "enrolled_at",
            "connected_at", "seen_at", "revoked_at",
        ]  # fmt: skip
        read_only_fields = fields


class DeviceFilterSerializer(serializers.Serializer[dict[str, Any]]):
    """By what devices may be listed."""

    status = serializers.ChoiceField(choices=Device.Status.choices, required=False)
    pool = serializers.CharField(max_length=60, required=False)
    name = serializers.CharField(max_length=100, required=False)
    online = serializers.BooleanField(required=False)


class AttributeSerializer(serializers.ModelSerializer[AttributeDefinition]):
    """One attribute of the schema."""

    class Meta:
        model = AttributeDefinition
        fields = ["name", "type", "unit", "description"]
        read_only_fields = fields


class EnrolSerializer(StrictSerializer):
    """What a device sends to join."""

    token = serializers.CharField(max_length=100)
    public_key = serializers.CharField(max_length=64)
    sdk = serializers.CharField(max_length=100)
    name = serializers.CharField(max_length=100, required=False, default="")
    attributes = serializers.DictField(required=False, default=dict)


class LeavingSerializer(StrictSerializer):
    """What a device sends to leave for good."""

    device = serializers.UUIDField()
    signature = serializers.CharField(max_length=128)


class EnrolledSerializer(serializers.Serializer[dict[str, Any]]):
    """What a device needs to know after it has joined."""

    device = serializers.UUIDField()
    pool = serializers.CharField()
    pool_tenants = serializers.ListField(child=serializers.CharField())
    gateway = serializers.CharField()
    # The base class has a property of this name; as a field it is only declared here.
    data = serializers.CharField()  # type: ignore[assignment]
    attributes_schema = AttributeSerializer(many=True)
