"""Pools, enrolment tokens, devices, and the door through which a device joins."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from clients import selectors, services
from clients.api import serializers
from clients.models import AttributeDefinition, Device, EnrolmentToken, Pool
from core.errors import Forbidden, NotFound
from core.parsing import StrictJson
from tenants import access
from tenants.replays import answer_once
from tenants.scopes import system_scope
from tenants.throttling import EnrolmentRate
from tenants.views import TenantView, caller


class EnrolView(APIView):
    """A device joins a pool with an enrolment token. Needs no other credentials."""

    authentication_classes = []
    permission_classes = []
    parser_classes = [StrictJson]
    throttle_classes = [EnrolmentRate]

    @extend_schema(
        request=serializers.EnrolSerializer,
        responses={200: serializers.EnrolledSerializer, 201: serializers.EnrolledSerializer},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Register the device's public key; the same key may come again."""
        asked = serializers.EnrolSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        device = f"device {asked.validated_data['public_key']}"
        with system_scope():
            return answer_once(request, lambda: _enrol(asked.validated_data), caller=device)


class LeaveView(APIView):
    """A device leaves for good, by a word that only its key can sign."""

    authentication_classes = []
    permission_classes = []
    parser_classes = [StrictJson]
    throttle_classes = [EnrolmentRate]

    @extend_schema(request=serializers.LeavingSerializer, responses={204: None}, auth=[])
    def post(self, request: Request) -> Response:
        """Revoke the device, also on its open connection; it may be said again."""
        asked = serializers.LeavingSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        device = f"device {asked.validated_data['device']}"
        with system_scope():
            return answer_once(request, lambda: _leave(asked.validated_data), caller=device)


def _leave(asked: dict[str, Any]) -> Response:
    services.leave(device_id=asked["device"], signature=asked["signature"], now=timezone.now())
    return Response(status=204)


def _enrol(asked: dict[str, Any]) -> Response:
    device, created = services.enrol(**asked, now=timezone.now())
    answer = {
        "device": device.id,
        "pool": device.pool.name,
        "pool_tenants": selectors.tenants_of(device.pool),
        "gateway": settings.PROPIUS_GATEWAY_URL.rstrip("/") + "/device/v1",
        "data": settings.PROPIUS_PUBLIC_URL.rstrip("/") + "/data/v1",
        "attributes_schema": list(AttributeDefinition.objects.order_by("name")),
    }
    return Response(serializers.EnrolledSerializer(answer).data, status=201 if created else 200)


class AttributeListView(TenantView, GenericAPIView[AttributeDefinition]):
    """The attributes that constraints may name."""

    scope_of = {"GET": access.READ_DEVICES}
    serializer_class = serializers.AttributeSerializer
    queryset = AttributeDefinition.objects.order_by("name")
    pagination_class = None

    def get(self, request: Request) -> Response:
        """List the attribute schema."""
        return Response(self.get_serializer(self.get_queryset(), many=True).data)


class PoolListView(TenantView, GenericAPIView[Pool]):
    """Pools that the tenant may use: shared ones and its own."""

    scope_of = {"GET": access.READ_DEVICES, "POST": access.WRITE_DEVICES}
    serializer_class = serializers.PoolSerializer
    queryset = Pool.objects.all()

    def get(self, request: Request) -> Response:
        """List pools, newest first."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        request=serializers.NewPoolSerializer, responses={201: serializers.PoolSerializer}
    )
    def post(self, request: Request) -> Response:
        """Create a private pool."""
        asked = serializers.NewPoolSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        pool = services.create_pool(
            name=asked.validated_data["name"],
            tenant_id=caller(request).tenant_id,
            actor=caller(request).name,
            now=timezone.now(),
        )
        return Response(serializers.PoolSerializer(pool).data, status=201)


class EnrolmentTokenListView(TenantView, GenericAPIView[EnrolmentToken]):
    """Enrolment tokens of one of the tenant's own pools."""

    scope_of = {"GET": access.READ_DEVICES, "POST": access.WRITE_DEVICES}
    serializer_class = serializers.EnrolmentTokenSerializer
    queryset = EnrolmentToken.objects.select_related("pool")

    def get(self, request: Request, pool_id: UUID) -> Response:
        """List the pool's tokens, newest first; secrets are never shown again."""
        page = self.paginate_queryset(self.get_queryset().filter(pool=_own_pool(pool_id)))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        request=serializers.NewEnrolmentTokenSerializer,
        responses={201: serializers.CreatedEnrolmentTokenSerializer},
    )
    def post(self, request: Request, pool_id: UUID) -> Response:
        """Create a token; the answer is the only time its secret is shown."""
        asked = serializers.NewEnrolmentTokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        token, secret = services.create_enrolment_token(
            pool=_own_pool(pool_id),
            created_by=caller(request).name,
            now=timezone.now(),
            **asked.validated_data,
        )
        shape = serializers.CreatedEnrolmentTokenSerializer(token, context={"secret": secret})
        return Response(shape.data, status=201)


class EnrolmentTokenView(TenantView):
    """One enrolment token."""

    scope_of = {"DELETE": access.WRITE_DEVICES}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, token_id: UUID) -> Response:
        """Revoke the token; devices that joined with it stay."""
        services.revoke_enrolment_token(
            token_id=token_id, actor=caller(request).name, now=timezone.now()
        )
        return Response(status=204)


class DeviceListView(TenantView, GenericAPIView[Device]):
    """Devices of the tenant's own pools. Shared pools are seen as counts only."""

    scope_of = {"GET": access.READ_DEVICES}
    serializer_class = serializers.DeviceSerializer
    queryset = Device.objects.select_related("pool")

    @extend_schema(
        parameters=[
            OpenApiParameter("status", str, enum=Device.Status.values),
            OpenApiParameter("pool", str, description="Name or id of the pool"),
            OpenApiParameter("name", str, description="Part of the name"),
            OpenApiParameter("online", bool, description="Seen within the last minute"),
        ]
    )
    def get(self, request: Request) -> Response:
        """List devices, newest first; up to 500 a page."""
        asked = serializers.DeviceFilterSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        rows = selectors.filtered(self.get_queryset(), now=timezone.now(), **asked.validated_data)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)


class DeviceView(TenantView):
    """One device of an own pool."""

    scope_of = {"GET": access.READ_DEVICES}

    @extend_schema(responses=serializers.DeviceSerializer)
    def get(self, request: Request, device_id: UUID) -> Response:
        """Show the device."""
        return Response(serializers.DeviceSerializer(_own_device(device_id)).data)


class DeviceRevokeView(TenantView):
    """Shuts a device out."""

    scope_of = {"POST": access.WRITE_DEVICES}

    @extend_schema(request=None, responses=serializers.DeviceSerializer)
    def post(self, request: Request, device_id: UUID) -> Response:
        """Revoke the device, also on its open connection."""
        _own_device(device_id)
        services.revoke_device(device_id=device_id, actor=caller(request).name, now=timezone.now())
        return Response(serializers.DeviceSerializer(_own_device(device_id)).data)


def _own_pool(pool_id: UUID) -> Pool:
    pool = Pool.objects.filter(id=pool_id).first()
    if pool is None:
        raise NotFound(f"no pool {pool_id}")
    if pool.is_shared:
        raise Forbidden("this pool is shared; its tokens are the operator's")
    return pool


def _own_device(device_id: UUID) -> Device:
    device = Device.objects.select_related("pool").filter(id=device_id).first()
    if device is None:
        raise NotFound(f"no device {device_id}")
    return device
