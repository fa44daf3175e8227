"""Tenants, members and the audit in the operators' console."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from core.admin import OperatorAdmin, ReadOnlyAdmin
from tenants.models import AuditEntry, Member, Tenant


@admin.register(Tenant)
class TenantAdmin(OperatorAdmin, ModelAdmin):
    """Tenants."""

    list_display = ["slug", "name", "created_at"]
    search_fields = ["slug", "name"]
    readonly_fields = ["created_at"]


@admin.register(Member)
class MemberAdmin(OperatorAdmin, ModelAdmin):
    """Who belongs to which tenant."""

    list_display = ["user", "tenant", "role"]
    list_filter = ["tenant", "role"]
    readonly_fields = ["created_at"]


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin, ModelAdmin):
    """Who changed what."""

    list_display = ["at", "tenant", "actor", "action", "target", "address"]
    list_filter = ["action"]
    search_fields = ["actor", "target"]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Newest first."""
        return super().get_queryset(request).order_by("-id")
