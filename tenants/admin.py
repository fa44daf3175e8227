"""Tenants, members, people and the audit in the operators' console."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from core.admin import OperatorAdmin, ReadOnlyAdmin
from core.console_actions import reason_given
from core.fields import ReasonField
from tenants import services
from tenants.console import Audited
from tenants.models import AuditEntry, Delivery, Member, Tenant

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


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]
    """Slug, name, and why."""

    reason = ReasonField()

    class Meta:
        model = Tenant
        fields = ("slug", "name")


@admin.register(Tenant)
class TenantAdmin(OperatorAdmin, ModelAdmin):
    """Tenants. One is not deleted here: its jobs, models and audit would go with it."""

    form = TenantForm
    list_display = ["slug", "name", "created_at"]
    search_fields = ["slug", "name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """The slug stays: devices name it in their consent."""
        return ["slug", "created_at"] if obj else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Create or rename through the service."""
        who = _who(request, form.cleaned_data["reason"])
        if change:
            services.rename_tenant(tenant_id=obj.pk, name=obj.name, **who)
        else:
            made = services.create_tenant(slug=obj.slug, name=obj.name, **who)
            obj.pk, obj.created_at = made.pk, made.created_at

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


class MemberForm(forms.ModelForm):  # type: ignore[type-arg]
    """Who, where, as what, and why."""

    reason = ReasonField()

    class Meta:
        model = Member
        fields = ("tenant", "user", "role")


@admin.register(Member)
class MemberAdmin(OperatorAdmin, ModelAdmin):
    """Who belongs to which tenant."""

    form = MemberForm
    list_display = ["user", "tenant", "role"]
    list_filter = ["tenant", "role"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A membership changes its role only."""
        return ["tenant", "user", "created_at"] if obj else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Add, or change the role, through the service."""
        member = services.add_member(
            tenant=obj.tenant,
            user=obj.user,
            role=obj.role,
            **_who(request, form.cleaned_data["reason"]),
        )
        obj.pk, obj.created_at = member.pk, member.created_at

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Remove through the service."""
        services.remove_member(member_id=obj.pk, **_who(request, reason_given(request)))


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin, ModelAdmin):
    """Who changed what."""

    list_display = ["at", "tenant", "actor", "action", "target", "detail", "address"]
    list_filter = ["action"]
    search_fields = ["actor", "target"]

    def get_queryset(self, request: HttpRequest) -> Any:
        """Newest first."""
        return super().get_queryset(request).order_by("-id")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin, ModelAdmin):
    """What was sent to tenants' webhooks, and how it went."""

    list_display = [
        "kind", "tenant", "webhook", "status", "attempts", "answer", "error", "created_at",
    ]  # fmt: skip
    list_filter = ["status", "tenant"]
    list_select_related = ["tenant", "webhook"]
    ordering = ["-id"]


def _who(request: HttpRequest, reason: str) -> dict[str, Any]:
    return {"actor": request.user.get_username(), "reason": reason, "now": timezone.now()}
