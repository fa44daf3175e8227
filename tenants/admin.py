"""Tenants, members, people and the audit in the operators' console."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from core.admin import OperatorAdmin, ReadOnlyAdmin
from tenants import services
from tenants.console import Audited
from tenants.models import AuditEntry, Member, Tenant

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(Audited, DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    """People who may sign in."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(Audited, DjangoGroupAdmin, ModelAdmin):
    """What groups of operators may do in the console."""


@admin.register(Tenant)
class TenantAdmin(OperatorAdmin, ModelAdmin):
    """Tenants. One is not deleted here: its jobs, models and audit would go with it."""

    list_display = ["slug", "name", "created_at"]
    search_fields = ["slug", "name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """The slug stays: devices name it in their consent."""
        return ["created_at", "slug"] if obj else ["created_at"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Create or rename through the service."""
        actor, now = request.user.get_username(), timezone.now()
        if change:
            services.rename_tenant(tenant_id=obj.pk, name=obj.name, actor=actor, now=now)
        else:
            made = services.create_tenant(slug=obj.slug, name=obj.name, actor=actor, now=now)
            obj.pk, obj.created_at = made.pk, made.created_at

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


@admin.register(Member)
class MemberAdmin(OperatorAdmin, ModelAdmin):
    """Who belongs to which tenant."""

    list_display = ["user", "tenant", "role"]
    list_filter = ["tenant", "role"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A membership changes its role only."""
        return ["created_at", "tenant", "user"] if obj else ["created_at"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Add, or change the role, through the service."""
        member = services.add_member(
            tenant=obj.tenant,
            user=obj.user,
            role=obj.role,
            actor=request.user.get_username(),
            now=timezone.now(),
        )
        obj.pk, obj.created_at = member.pk, member.created_at

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Remove through the service."""
        services.remove_member(
            member_id=obj.pk, actor=request.user.get_username(), now=timezone.now()
        )

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Member]) -> None:
        """Remove each through the service."""
        for member in queryset:
            self.delete_model(request, member)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin, ModelAdmin):
    """Who changed what."""

    list_display = ["at", "tenant", "actor", "action", "target", "address"]
    list_filter = ["action"]
    search_fields = ["actor", "target"]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Newest first."""
        return super().get_queryset(request).order_by("-id")
