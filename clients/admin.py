"""Pools and devices in the operators' console."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import pluralize
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from clients import console, services
from clients.models import Device, EnrolmentToken, Pool
from core.admin import OperatorAdmin, ReadOnlyAdmin

__all__ = ["console"]


@admin.register(Pool)
class PoolAdmin(OperatorAdmin, ModelAdmin):
    """Shared pools (no tenant) and private ones."""

    list_display = ["name", "tenant", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A pool stays its tenant's: its devices' rows say so too."""
        return ["created_at", "tenant"] if obj else ["created_at"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Create or rename through the service."""
        actor, now = request.user.get_username(), timezone.now()
        if change:
            services.rename_pool(pool_id=obj.pk, name=obj.name, actor=actor, now=now)
        else:
            made = services.create_pool(
                name=obj.name, tenant_id=obj.tenant_id, actor=actor, now=now
            )
            obj.pk, obj.created_at = made.pk, made.created_at

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        services.delete_pool(pool_id=obj.pk, actor=request.user.get_username(), now=timezone.now())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Pool]) -> None:
        """Delete each through the service."""
        for pool in queryset:
            self.delete_model(request, pool)


@admin.register(EnrolmentToken)
class EnrolmentTokenAdmin(ReadOnlyAdmin, ModelAdmin):
    """Enrolment tokens; secrets are not kept."""

    list_display = ["name", "pool", "uses", "max_uses", "expires_at", "revoked_at"]


@admin.register(Device)
class DeviceAdmin(ReadOnlyAdmin, ModelAdmin):
    """Devices; the action revokes."""

    list_display = ["name", "pool", "status", "sdk", "connected_at", "seen_at"]
    list_filter = ["pool", "status"]
    search_fields = ["name", "id"]
    readonly_fields = ["history"]
    actions = ["revoke"]

    @admin.display(description="History")
    def history(self, device: Device) -> str:
        """Lead to what it was bound to, and how each ended."""
        asked = urlencode({"device__id__exact": str(device.id)})
        path = reverse("admin:jobs_assignment_changelist")
        return format_html('<a href="{}?{}" class="underline">Its assignments</a>', path, asked)

    @admin.action(description="Revoke the selected devices", permissions=["operate"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """Shut the devices out, also on open connections."""
        for device_id in queryset.values_list("id", flat=True):
            services.revoke_device(
                device_id=device_id, actor=request.user.get_username(), now=timezone.now()
            )
        revoked = queryset.count()
        self.message_user(request, f"{revoked} device{pluralize(revoked)} revoked")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Newest first, with pools."""
        return super().get_queryset(request).select_related("pool").order_by("-id")
