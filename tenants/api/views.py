"""The caller and its tenant's tokens."""

from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from tenants import access, services
from tenants.api import serializers
from tenants.models import ApiToken
from tenants.views import TenantView, caller, soonest


class CallerView(TenantView):
    """Who the caller is."""

    scope_of = {"GET": access.READ_TENANT}

    @extend_schema(responses=serializers.CallerSerializer)
    def get(self, request: Request) -> Response:
        """Tell the caller's tenant, role and scopes."""
        return Response(serializers.CallerSerializer(caller(request)).data)


class TokenListView(TenantView, GenericAPIView[ApiToken]):
    """API tokens of the tenant."""

    scope_of = {"GET": access.READ_TENANT, "POST": access.WRITE_TENANT}
    serializer_class = serializers.TokenSerializer
    queryset = ApiToken.objects.all()

    def get(self, request: Request) -> Response:
        """List tokens, newest first; secrets are never shown again."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        request=serializers.NewTokenSerializer,
        responses={201: serializers.CreatedTokenSerializer},
    )
    def post(self, request: Request) -> Response:
        """Create a token; only this answer shows its secret. It outlives no token that made it."""
        asked = serializers.NewTokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = asked.validated_data.get("scopes")
        access.require_within(caller(request), wanted or access.ALL_SCOPES, "a token")
        token, secret = services.create_token(
            tenant_id=caller(request).tenant_id,
            name=asked.validated_data["name"],
            scopes=wanted,
            created_by=caller(request).name,
            expires_at=soonest(request, asked.validated_data.get("expires_at")),
            made_by=caller(request).user_id,
            now=timezone.now(),
        )
        shape = serializers.CreatedTokenSerializer(token, context={"secret": secret})
        return Response(shape.data, status=201)


class TokenView(TenantView):
    """One token."""

    scope_of = {"DELETE": access.WRITE_TENANT}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, token_id: UUID) -> Response:
        """Revoke the token at once."""
        services.revoke_token(
            tenant_id=caller(request).tenant_id,
            token_id=token_id,
            actor=caller(request).name,
            now=timezone.now(),
        )
        return Response(status=204)
