"""The operators' console: choose the policy, look at its history, set tenants' shares."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import pluralize
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from core.admin import (
    KeptAsHistory,
    NewestInForce,
    OperatorAdmin,
    ReadOnlyAdmin,
    ReadTogether,
    Revertible,
)
from core.fields import ReasonField, StrictJsonField
from scheduling import console, policies, quotas, services, supply
from scheduling.models import (
    GatewayDrain,
    QuotaChange,
    ShareChange,
    SharingPolicy,
    TenantQuota,
    TenantShare,
)
from scheduling.preview_pages import PreviewPages

__all__ = ["console"]


class SharingPolicyForm(forms.ModelForm):  # type: ignore[type-arg]
    """Name, parameters and the reason; the rest is stamped."""

    name = forms.ChoiceField(
        choices=[(name, name) for name in policies.REGISTRY], widget=UnfoldAdminSelectWidget
    )
    parameters = StrictJsonField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text='For example {"max_wait_s": 300}; empty for the defaults',
    )
    reason = ReasonField()

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


@admin.register(SharingPolicy)
class SharingPolicyAdmin(
    PreviewPages, NewestInForce, KeptAsHistory, Revertible, OperatorAdmin, ModelAdmin
):
    """The newest row is active. A change of policy is a new row; rows are history."""

    form = SharingPolicyForm
    actions_list = ["preview_first"]
    list_display = ["name", "state", "parameters", "reason", "author", "created_at", "back"]
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


class TenantShareForm(forms.ModelForm):  # type: ignore[type-arg]
    """Bounds are checked before the service sees them, so that faults show beside the fields."""

    reason = ReasonField()

    class Meta:
        model = TenantShare
        fields = ("tenant", "weight", "guarantee", "ceiling", "lending_limit")


@admin.register(TenantShare)
class TenantShareAdmin(OperatorAdmin, ModelAdmin):
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
class TenantQuotaAdmin(ReadTogether, OperatorAdmin, ModelAdmin):
    """How much each tenant may have in all."""

    fields = ["tenant", "jobs", "devices", "device_hours", "stored_bytes", "reason"]
    list_display = [
        "tenant", "jobs", "devices", "device_hours", "stored_bytes", "used", "reason",
        "updated_by", "updated_at",
    ]  # fmt: skip
    list_select_related = ["tenant"]

    def read_together(self, rows: list[Any]) -> None:
        """Look at what the tenants have now."""
        found = quotas.usages([row.tenant_id for row in rows], now=timezone.now())
        for row in rows:
            row.found = found[row.tenant_id]

    @admin.display(description="Used")
    def used(self, quota: Any) -> str:
        """Show what the tenant has now, in the order of the bounds."""
        found = quota.found
        return (
            f"{found.jobs} job{pluralize(found.jobs)}, "
            f"{found.devices} device{pluralize(found.devices)}, {found.device_hours:.1f} h, "
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


@admin.register(QuotaChange)
class QuotaChangeAdmin(Revertible, ReadOnlyAdmin, ModelAdmin):
    """Every quota as it was set, by whom and why."""

    list_display = [
        "tenant", "jobs", "devices", "device_hours", "stored_bytes", "reason", "author",
        "created_at", "back",
    ]  # fmt: skip
    list_filter = ["tenant"]
    list_select_related = ["tenant"]
    ordering = ["-id"]
    revert_permission = "scheduling.change_tenantquota"

    def revert(self, *, row_id: int, author: str) -> str:
        """Set a quota of the history again, at once. Raises QuotaInvalid."""
        services.revert_quota(change_id=row_id, author=author, now=timezone.now())
        return "The quota is set as it was."


def _living() -> list[tuple[str, str]]:
    return [(one, f"{one}: {sockets} devices") for one, sockets in supply.gateways().items()]


class GatewayDrainForm(forms.ModelForm):  # type: ignore[type-arg]
    """One of the gateways that live, and the reason."""

    gateway = forms.ChoiceField(choices=_living, widget=UnfoldAdminSelectWidget)
    reason = ReasonField()

    class Meta:
        model = GatewayDrain
        fields = ("gateway", "reason")


@admin.register(GatewayDrain)
class GatewayDrainAdmin(KeptAsHistory, OperatorAdmin, ModelAdmin):
    """Gateways that were asked to end. Under a supervisor each starts again at once, empty."""

    form = GatewayDrainForm
    list_display = ["gateway", "reason", "author", "created_at"]
    ordering = ["-id"]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Drain through the service."""
        asked = services.drain_gateway(
            gateway=obj.gateway,
            author=request.user.get_username(),
            reason=obj.reason,
            now=timezone.now(),
        )
        obj.pk, obj.created_at = asked.pk, asked.created_at
