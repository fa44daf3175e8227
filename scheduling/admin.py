"""The operators' console: choose the policy, look at its history, set tenants' shares."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from core.admin import ReadOnlyAdmin
from core.errors import Invalid
from scheduling import console, policies, quotas, services
from scheduling.models import ShareChange, SharingPolicy, TenantQuota, TenantShare

__all__ = ["console"]


class SharingPolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """Name, parameters and the reason; the rest is stamped."""

    name = forms.ChoiceField(
        choices=[(name, name) for name in policies.REGISTRY], widget=UnfoldAdminSelectWidget
    )
    parameters = forms.JSONField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text='For example {"max_wait_s": 300}; empty for the defaults',
    )
    reason = forms.CharField(max_length=300, widget=UnfoldAdminTextInputWidget)

    class Meta:
        model = SharingPolicy
        fields = ("name", "parameters", "reason")

    def clean(self) -> dict[str, Any]:
        """Show beside the field what the policy does not take."""
        cleaned = super().clean() or {}
        parameters = cleaned.get("parameters") or {}
        cleaned["parameters"] = parameters
        if not isinstance(parameters, dict):
            self.add_error("parameters", "a JSON object is allowed")
        elif "name" in cleaned:
            try:
                policies.make(cleaned["name"], parameters)
            except policies.BadParameters as error:
                self.add_error("parameters", str(error))
        return cleaned


class Revertible:
    """A history whose rows can be chosen again with one click."""

    revert_permission = ""

    def revert(self, *, row_id: int, author: str) -> str:
        """Choose a row again; returns what to tell."""
        raise NotImplementedError

    @admin.display(description="")
    def back(self, row: Any) -> SafeString:
        """Show the button; the list is a form already, with its token."""
        options = row._meta
        name = f"admin:{options.app_label}_{options.model_name}_revert"
        return format_html(
            '<button type="submit" formaction="{}" class="underline">Choose again</button>',
            reverse(name, args=[row.pk]),
        )

    def get_urls(self) -> list[Any]:
        """Add the button's address."""
        options = self.opts  # type: ignore[attr-defined]
        view = self.admin_site.admin_view(require_POST(self.revert_view))  # type: ignore[attr-defined]
        name = f"{options.app_label}_{options.model_name}_revert"
        own = path("<int:row_id>/revert/", view, name=name)
        return [own, *super().get_urls()]  # type: ignore[misc]

    def revert_view(self, request: HttpRequest, row_id: int) -> HttpResponse:
        """Choose a row again, if the person may, and show the history."""
        if not request.user.has_perm(self.revert_permission):
            raise PermissionDenied
        try:
            told = self.revert(row_id=row_id, author=request.user.get_username())
        except Invalid as error:
            messages.error(request, f"Nothing was changed: {error.detail}.")
        else:
            messages.success(request, told)
        options = self.opts  # type: ignore[attr-defined]
        return redirect(f"admin:{options.app_label}_{options.model_name}_changelist")


@admin.register(SharingPolicy)
class SharingPolicyAdmin(Revertible, ModelAdmin):
    """The newest row is active. A change of policy is a new row; rows are history."""

    form = SharingPolicyForm
    list_display = ["name", "parameters", "reason", "author", "created_at", "back"]
    ordering = ["-id"]
    revert_permission = "scheduling.add_sharingpolicy"

    def revert(self, *, row_id: int, author: str) -> str:
        """Make a row of the history the active one, at once. Raises PolicyInvalid."""
        chosen = services.revert_policy(policy_id=row_id, author=author, now=timezone.now())
        return f"The policy is {chosen.name} again."

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Choose the policy through the service."""
        chosen = services.set_policy(
            name=obj.name,
            parameters=obj.parameters,
            author=request.user.get_username(),
            reason=obj.reason,
            now=timezone.now(),
        )
        obj.pk, obj.created_at = chosen.pk, chosen.created_at

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: history stays as it was."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: history stays as it was."""
        return False


class TenantShareForm(forms.ModelForm):  # type: ignore[type-arg]
    """Bounds are checked before the service sees them, so that faults show beside the fields."""

    reason = forms.CharField(max_length=300, widget=UnfoldAdminTextInputWidget)

    class Meta:
        model = TenantShare
        fields = ("tenant", "weight", "guarantee", "ceiling", "lending_limit")


@admin.register(TenantShare)
class TenantShareAdmin(ModelAdmin):
    """What each tenant may have of the fleet, in devices at once."""

    form = TenantShareForm
    list_display = [
        "tenant", "weight", "guarantee", "ceiling", "lending_limit", "updated_by", "updated_at",
    ]  # fmt: skip
    list_select_related = ["tenant"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A share stays its tenant's."""
        return ["tenant"] if obj else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Set the share through the service."""
        share = services.set_share(
            tenant_id=obj.tenant_id,
            weight=obj.weight,
            guarantee=obj.guarantee,
            ceiling=obj.ceiling,
            lending_limit=obj.lending_limit,
            author=request.user.get_username(),
            reason=form.cleaned_data["reason"],
            now=timezone.now(),
        )
        obj.pk = share.pk

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a share is set, not removed."""
        return False


@admin.register(ShareChange)
class ShareChangeAdmin(Revertible, ReadOnlyAdmin, ModelAdmin):
    """Every share as it was set, by whom and why."""

    list_display = [
        "tenant", "weight", "guarantee", "ceiling", "lending_limit", "reason", "author",
        "created_at", "back",
    ]  # fmt: skip
    list_filter = ["tenant"]
    list_select_related = ["tenant"]
    ordering = ["-id"]
    revert_permission = "scheduling.change_tenantshare"

    def revert(self, *, row_id: int, author: str) -> str:
        """Set a share of the history again, at once. Raises ShareInvalid."""
        services.revert_share(change_id=row_id, author=author, now=timezone.now())
        return "The share is set as it was."


@admin.register(TenantQuota)
class TenantQuotaAdmin(ModelAdmin):
    """How much each tenant may have in all; the audit has the history."""

    fields = ["tenant", "jobs", "devices", "device_hours", "stored_bytes", "reason"]
    list_display = [
        "tenant", "jobs", "devices", "device_hours", "stored_bytes", "used", "reason",
        "updated_by", "updated_at",
    ]  # fmt: skip
    list_select_related = ["tenant"]

    @admin.display(description="Used")
    def used(self, quota: TenantQuota) -> str:
        """Show what the tenant has now, in the order of the bounds."""
        found = quotas.usage(quota.tenant_id, now=timezone.now())
        return (
            f"{found.jobs} jobs, {found.devices} devices, {found.device_hours:.1f} h, "
            f"{found.stored_bytes} bytes"
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A quota stays its tenant's."""
        return ["tenant"] if obj else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Set the quota through the service."""
        quota = services.set_quota(
            tenant_id=obj.tenant_id,
            jobs=obj.jobs,
            devices=obj.devices,
            device_hours=obj.device_hours,
            stored_bytes=obj.stored_bytes,
            author=request.user.get_username(),
            reason=obj.reason,
            now=timezone.now(),
        )
        obj.pk = quota.pk

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a bound is lifted by leaving it empty, with a reason."""
        return False
