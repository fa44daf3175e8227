"""The operators' console: choose the policy, look at its history, set tenants' shares."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from scheduling import policies, services
from scheduling.models import SharingPolicy, TenantShare


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


@admin.register(SharingPolicy)
class SharingPolicyAdmin(ModelAdmin):
    """The newest row is active. A change of policy is a new row; rows are history."""

    form = SharingPolicyForm
    list_display = ["name", "parameters", "reason", "author", "created_at"]
    ordering = ["-id"]

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

    class Meta:
        model = TenantShare
        fields = ("tenant", "weight", "guarantee", "ceiling")


@admin.register(TenantShare)
class TenantShareAdmin(ModelAdmin):
    """What each tenant may have of the fleet, in devices at once."""

    form = TenantShareForm
    list_display = ["tenant", "weight", "guarantee", "ceiling", "updated_by", "updated_at"]
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
            author=request.user.get_username(),
            now=timezone.now(),
        )
        obj.pk = share.pk

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a share is set, not removed."""
        return False
