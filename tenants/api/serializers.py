"""Shapes of tokens and of the caller."""

from typing import Any

from rest_framework import serializers

from core.strict import StrictSerializer
from tenants.access import ALL_SCOPES, Principal
from tenants.models import ApiToken, AuditEntry, Invitation, Member, Role


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


class MemberSerializer(serializers.ModelSerializer[Member]):
    """A person in the tenant."""

    username = serializers.CharField(source="user.username", read_only=True)

    class Meta:
        model = Member
        fields = ["id", "username", "role", "created_at"]
        read_only_fields = fields


class NewRoleSerializer(StrictSerializer):
    """The role that a member gets."""

    role = serializers.ChoiceField(choices=Role.choices)


class InvitationSerializer(serializers.ModelSerializer[Invitation]):
    """An invitation without its link."""

    class Meta:
        model = Invitation
        fields = [
            "id", "name", "role", "created_by", "created_at", "expires_at", "accepted_at",
            "accepted_by", "revoked_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewInvitationSerializer(StrictSerializer):
    """Whom to invite, as what, and for how long."""

    name = serializers.CharField(max_length=150)
    role = serializers.ChoiceField(choices=Role.choices)
    days = serializers.IntegerField(min_value=1, max_value=30, default=7)


class CreatedInvitationSerializer(InvitationSerializer):
    """An invitation just created, with the link that is shown once."""

    link = serializers.SerializerMethodField()

    class Meta(InvitationSerializer.Meta):
        fields = [*InvitationSerializer.Meta.fields, "link"]
        read_only_fields = fields

    def get_link(self, invitation: Invitation) -> str:
        """Return the link, which the view knows and the row does not."""
        return str(self.context["link"])


class AuditFilterSerializer(serializers.Serializer[dict[str, Any]]):
    """By what the audit may be listed."""

    q = serializers.CharField(source="asked", max_length=150, required=False, allow_blank=True)
    action = serializers.CharField(max_length=60, required=False, allow_blank=True)


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """Who changed what, when and from where."""

    class Meta:
        model = AuditEntry
        fields = ["id", "at", "actor", "action", "target", "detail", "address"]
        read_only_fields = fields
