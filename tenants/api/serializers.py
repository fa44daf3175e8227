"""Shapes of tokens and of the caller."""

from rest_framework import serializers

from core.strict import StrictSerializer
from tenants.access import ALL_SCOPES, Principal
from tenants.models import ApiToken


class CallerSerializer(serializers.Serializer[Principal]):
    """Who the caller is to the platform."""

    name = serializers.CharField()
    tenant = serializers.CharField(source="tenant_slug")
    tenant_id = serializers.UUIDField()
    role = serializers.CharField(allow_blank=True)
    scopes = serializers.SerializerMethodField()

    def get_scopes(self, caller: Principal) -> list[str]:
        """Return the scopes, sorted."""
        return sorted(caller.scopes)


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    """A token without its secret."""

    class Meta:
        model = ApiToken
        fields = [
            "id", "name", "start", "scopes", "created_by", "created_at", "expires_at",
            "last_used_at", "revoked_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewTokenSerializer(StrictSerializer):
    """What is asked of a new token."""

    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=ALL_SCOPES), required=False, allow_empty=False
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class CreatedTokenSerializer(TokenSerializer):
    """A token just created, with the secret that is shown once."""

    secret = serializers.SerializerMethodField()

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "secret"]
        read_only_fields = fields

    def get_secret(self, token: ApiToken) -> str:
        """Return the secret, which the view knows and the row does not."""
        return str(self.context["secret"])
