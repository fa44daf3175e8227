"""Pools and devices in the operators' console."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from clients import console, selectors, services
from clients.models import Device, EnrolmentToken, Pool
from core.admin import OperatorAdmin, ReadOnlyAdmin, ReadTogether
from core.console_actions import WhyForm, do_to_each, reason_given
from core.fields import ReasonField

__all__ = ["console"]


class PoolForm(forms.ModelForm):  # type: ignore[type-arg]
    """A name, whose it is, and why."""

    reason = ReasonField()

    class Meta:
        model = Pool
        fields = ("name", "tenant")


@admin.register(Pool)
class PoolAdmin(OperatorAdmin, ModelAdmin):
    """Shared pools (no tenant) and private ones."""

    form = PoolForm
    list_display = ["name", "tenant", "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A pool stays its tenant's: its devices' rows say so too."""
        return ["tenant", "created_at"] if obj else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Create or rename through the service."""
        who = {
            "actor": request.user.get_username(),
            "reason": form.cleaned_data["reason"],
            "now": timezone.now(),
        }
        if change:
            services.rename_pool(pool_id=obj.pk, name=obj.name, **who)
        else:
            made = services.create_pool(name=obj.name, tenant_id=obj.tenant_id, **who)
            obj.pk, obj.created_at = made.pk, made.created_at

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        services.delete_pool(
            pool_id=obj.pk,
            actor=request.user.get_username(),
            reason=reason_given(request),
            now=timezone.now(),
        )

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """List what goes along: the service deletes it, whoever may delete the pool."""
        rows, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return rows, counts, lacking & {self.opts.verbose_name}, protected


@admin.register(EnrolmentToken)
class EnrolmentTokenAdmin(ReadOnlyAdmin, ModelAdmin):
    """Enrolment tokens; secrets are not kept."""

    when_empty = (
        "No enrolment token yet: manage.py provision makes one of a shared pool; tenants make "
        "those of their own pools on their dashboard."
    )
    list_display = ["name", "pool", "uses", "max_uses", "expires_at", "revoked_at"]


class OutliersFilter(admin.SimpleListFilter):
    """Devices whose updates stood out of late."""

    title = "outliers"
    parameter_name = "outliers"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer those that have some."""
        return [("some", f"In the last {selectors.OUTLIERS_OF.days} days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        """Narrow the list down."""
        if self.value() != "some":
            return queryset
        return selectors.with_outliers(queryset, now=timezone.now())


@admin.register(Device)
class DeviceAdmin(ReadTogether, ReadOnlyAdmin, ModelAdmin):
    """Devices; the action revokes."""

    when_empty = "No device yet: it comes by propius device enrol, with a token of its pool."
    list_display = ["name", "pool", "status", "sdk", "connected_at", "seen_at", "outliers"]
    list_filter = ["pool", "status", OutliersFilter]
    search_fields = ["name", "id"]
    readonly_fields = ["history", "outliers"]
    actions = ["revoke"]
    action_form = WhyForm

    @admin.display(description="History")
    def history(self, device: Device) -> str:
        """Lead to what it was bound to, and how each ended."""
        asked = urlencode({"device__id__exact": str(device.id)})
        path = reverse("admin:jobs_assignment_changelist")
        return format_html('<a href="{}?{}" class="underline">Its assignments</a>', path, asked)

    def read_together(self, rows: list[Any]) -> None:
        """Count the outliers of the page's devices."""
        found = selectors.outliers([row.pk for row in rows], now=timezone.now())
        for row in rows:
            row.stood_out = found.get(row.pk, 0)

    @admin.display(description="Outliers, 30 days")
    def outliers(self, device: Any) -> str:
        """Count its updates that stood out in their rounds, and lead to them."""
        if not hasattr(device, "stood_out"):
            self.read_together([device])
        if not device.stood_out:
            return "0"
        asked = urlencode({"assignment__device__id__exact": str(device.id), "is_outlier__exact": 1})
        path = reverse("admin:aggregation_update_changelist")
        return format_html(
            '<a href="{}?{}" class="underline">{}</a>', path, asked, device.stood_out
        )

    @admin.action(description="Revoke the selected devices", permissions=["operate"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """Shut each device out, also on its open connection."""
        actor, now = request.user.get_username(), timezone.now()
        do_to_each(
            request,
            queryset,
            lambda device, why: services.revoke_device(
                device_id=device.id, actor=actor, reason=why, now=now
            ),
            done="revoked",
        )

    def get_queryset(self, request: HttpRequest) -> Any:
        """Newest first, with pools."""
        return super().get_queryset(request).select_related("pool").order_by("-id")
