"""Webhooks of the caller's tenant and the log of what they were sent."""

from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from core.strict import StrictSerializer
from tenants import access, services
from tenants.models import Delivery, Webhook
from tenants.views import TenantView, caller
from tenants.webhooks.kinds import KINDS, TEST


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    """A webhook without its secret."""

    kinds = serializers.ListField(child=serializers.ChoiceField(choices=KINDS), read_only=True)

    class Meta:
        model = Webhook
        fields = ["id", "url", "kinds", "created_by", "created_at"]
        read_only_fields = fields


class NewWebhookSerializer(StrictSerializer):
    """Where to send which events; without kinds all of them."""

    url = serializers.CharField(max_length=500)
    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=KINDS), required=False, allow_empty=False
    )


class CreatedWebhookSerializer(WebhookSerializer):
    """A webhook just created, with the secret that signs its deliveries, shown once."""

    secret = serializers.SerializerMethodField()

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]
        read_only_fields = fields

    def get_secret(self, webhook: Webhook) -> str:
        """Return the secret, which the view knows and the row keeps encrypted."""
        return str(self.context["secret"])


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One event on its way, or what became of it."""

    class Meta:
        model = Delivery
        fields = [
            "id", "event", "kind", "status", "attempts", "answer", "error", "created_at",
            "next_at", "ended_at",
        ]  # fmt: skip
        read_only_fields = fields


class DeliveryFilterSerializer(serializers.Serializer[dict[str, Any]]):
    """By what deliveries may be listed."""

    status = serializers.ChoiceField(choices=Delivery.Status.choices, required=False)
    kind = serializers.ChoiceField(choices=[*KINDS, TEST], required=False)


class WebhookListView(TenantView, GenericAPIView[Webhook]):
    """Webhooks of the tenant."""

    scope_of = {"GET": access.READ_TENANT, "POST": access.WRITE_TENANT}
    serializer_class = WebhookSerializer
    queryset = Webhook.objects.filter(deleted_at=None)

    def get(self, request: Request) -> Response:
        """List webhooks, newest first; secrets are never shown again."""
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(request=NewWebhookSerializer, responses={201: CreatedWebhookSerializer})
    def post(self, request: Request) -> Response:
        """Send events to an address from now on; only this answer shows the secret."""
        asked = NewWebhookSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        webhook, secret = services.create_webhook(
            tenant_id=caller(request).tenant_id,
            url=asked.validated_data["url"],
            kinds=asked.validated_data.get("kinds"),
            actor=caller(request).name,
            now=timezone.now(),
        )
        shape = CreatedWebhookSerializer(webhook, context={"secret": secret})
        return Response(shape.data, status=201)


class WebhookView(TenantView):
    """One webhook."""

    scope_of = {"DELETE": access.WRITE_TENANT}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, webhook_id: UUID) -> Response:
        """Send nothing there any more."""
        services.delete_webhook(
            webhook_id=webhook_id, actor=caller(request).name, now=timezone.now()
        )
        return Response(status=204)


class WebhookTestView(TenantView):
    """Trying a webhook."""

    scope_of = {"POST": access.WRITE_TENANT}

    @extend_schema(request=None, responses={202: DeliverySerializer})
    def post(self, request: Request, webhook_id: UUID) -> Response:
        """Send a delivery that tells nothing; its log line tells whether it arrived."""
        delivery = services.try_webhook(
            webhook_id=webhook_id, actor=caller(request).name, now=timezone.now()
        )
        return Response(DeliverySerializer(delivery).data, status=202)


class DeliveryListView(TenantView, GenericAPIView[Delivery]):
    """The log of a webhook."""

    scope_of = {"GET": access.READ_TENANT}
    serializer_class = DeliverySerializer
    queryset = Delivery.objects.all()

    @extend_schema(
        parameters=[
            OpenApiParameter("status", str, enum=Delivery.Status.values),
            OpenApiParameter("kind", str, enum=[*KINDS, TEST]),
        ]
    )
    def get(self, request: Request, webhook_id: UUID) -> Response:
        """List deliveries, newest first."""
        asked = DeliveryFilterSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        rows = self.get_queryset().filter(webhook_id=webhook_id, **asked.validated_data)
        return self.get_paginated_response(
            self.get_serializer(self.paginate_queryset(rows), many=True).data
        )
