"""Members, invitations and the audit of the caller's tenant."""

from datetime import timedelta
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from tenants import access, selectors, services
from tenants.api import serializers
from tenants.models import AuditEntry, Invitation, Member
from tenants.views import TenantView, caller, soonest


class MemberListView(TenantView, GenericAPIView[Member]):
    """Who belongs to the tenant."""

    scope_of = {"GET": access.READ_TENANT}
    serializer_class = serializers.MemberSerializer
    queryset = Member.objects.select_related("user")

    def get(self, request: Request) -> Response:
        """List members with their roles."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class MemberView(TenantView):
    """One member."""

    scope_of = {"PATCH": access.WRITE_TENANT, "DELETE": access.WRITE_TENANT}

    @extend_schema(request=serializers.NewRoleSerializer, responses=serializers.MemberSerializer)
    def patch(self, request: Request, member_id: int) -> Response:
        """Give the member another role; only an owner makes or changes an owner.

        A token gives a role only if it has all of the role's scopes.
        """
        asked = serializers.NewRoleSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        _require_all_of(request, asked.validated_data["role"])
        member = services.change_role(
            member_id=member_id,
            role=asked.validated_data["role"],
            by_role=access.acting_role(caller(request)),
            actor=caller(request).name,
            now=timezone.now(),
        )
        return Response(serializers.MemberSerializer(member).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, member_id: int) -> Response:
        """Take the member out of the tenant; the last owner stays."""
        services.remove_member(
            member_id=member_id,
            by_role=access.acting_role(caller(request)),
            actor=caller(request).name,
            now=timezone.now(),
        )
        return Response(status=204)


class InvitationListView(TenantView, GenericAPIView[Invitation]):
    """Invitations into the tenant."""

    scope_of = {"GET": access.READ_TENANT, "POST": access.WRITE_TENANT}
    serializer_class = serializers.InvitationSerializer
    queryset = Invitation.objects.all()

    def get(self, request: Request) -> Response:
        """List invitations, newest first; links are never shown again."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        request=serializers.NewInvitationSerializer,
        responses={201: serializers.CreatedInvitationSerializer},
    )
    def post(self, request: Request) -> Response:
        """Invite one person; only this answer shows the link, which outlives no token."""
        asked = serializers.NewInvitationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given, now = asked.validated_data, timezone.now()
        _require_all_of(request, given["role"])
        until = now + timedelta(days=given["days"])
        invitation, secret = services.create_invitation(
            tenant_id=caller(request).tenant_id,
            name=given["name"],
            role=given["role"],
            expires_at=soonest(request, until) or until,
            by_role=access.acting_role(caller(request)),
            actor=caller(request).name,
            made_by=caller(request).user_id,
            now=now,
        )
        link = request.build_absolute_uri(selectors.invitation_path(secret))
        shape = serializers.CreatedInvitationSerializer(invitation, context={"link": link})
        return Response(shape.data, status=201)


class InvitationView(TenantView):
    """One invitation."""

    scope_of = {"DELETE": access.WRITE_TENANT}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, invitation_id: UUID) -> Response:
        """Make the link useless."""
        services.revoke_invitation(
            invitation_id=invitation_id, actor=caller(request).name, now=timezone.now()
        )
        return Response(status=204)


class AuditView(TenantView, GenericAPIView[AuditEntry]):
    """What was changed in the tenant."""

    scope_of = {"GET": access.READ_TENANT}
    serializer_class = serializers.AuditEntrySerializer
    queryset = AuditEntry.objects.all()

    @extend_schema(
        parameters=[
            OpenApiParameter("q", str, description="Part of the actor or the target"),
            OpenApiParameter("action", str, description="As in token.create"),
        ]
    )
    def get(self, request: Request) -> Response:
        """List the audit, newest first."""
        asked = serializers.AuditFilterSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        page = self.paginate_queryset(selectors.audit_entries(**asked.validated_data))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


def _require_all_of(request: Request, role: str) -> None:
    access.require_within(caller(request), access.SCOPES_OF[role], f"a member as {role}")
