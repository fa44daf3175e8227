"""Jobs and rounds of all tenants in the operators' console."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin import ReadOnlyAdmin, Revertible
from jobs import maintenance, services
from jobs.models import Assignment, Job, Maintenance, Round


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin, ModelAdmin):
    """Jobs; the action cancels."""

    list_display = ["name", "tenant", "status", "outcome", "version", "submitted_at"]
    list_filter = ["status", "outcome", "tenant"]
    search_fields = ["name", "id"]
    actions = ["cancel"]

    @admin.action(description="Cancel the selected jobs", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """End the jobs that have not ended."""
        running = queryset.exclude(status=Job.Status.FINISHED)
        ids = list(running.values_list("id", flat=True))
        for job_id in ids:
            services.cancel(job_id=job_id, actor=request.user.get_username(), now=timezone.now())
        self.message_user(request, f"{len(ids)} jobs cancelled")


@admin.register(Round)
class RoundAdmin(ReadOnlyAdmin, ModelAdmin):
    """Rounds."""

    list_display = [
        "job", "kind", "number", "attempt", "status", "outcome", "assigned", "reported", "lost",
    ]  # fmt: skip
    list_filter = ["kind", "status", "outcome"]
    list_select_related = ["job"]


@admin.register(Assignment)
class AssignmentAdmin(ReadOnlyAdmin, ModelAdmin):
    """Who was bound to what and how it ended: by its code, the devices whose updates stand out."""

    list_display = ["device", "job", "status", "code", "message", "ended_at"]
    list_filter = ["status", "code"]
    search_fields = ["device__name", "job__name", "id"]
    list_select_related = ["device", "job"]
    ordering = ["-id"]


class MaintenanceForm(forms.ModelForm):  # type: ignore[type-arg]
    """Mode and reason; the rest is stamped."""

    mode = forms.ChoiceField(choices=Maintenance.Mode.choices, widget=UnfoldAdminSelectWidget)
    reason = forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextInputWidget,
        help_text="Tenants whose jobs wait read it",
    )

    class Meta:
        model = Maintenance
        fields = ("mode", "reason")


@admin.register(Maintenance)
class MaintenanceAdmin(Revertible, ModelAdmin):
    """The newest row is in force. A change is a new row; rows are history."""

    form = MaintenanceForm
    list_display = ["mode", "reason", "author", "created_at", "back"]
    ordering = ["-id"]
    revert_permission = "jobs.add_maintenance"

    def revert(self, *, row_id: int, author: str) -> str:
        """Choose a row of the history again. Raises MaintenanceInvalid."""
        chosen = services.revert_maintenance(
            maintenance_id=row_id, author=author, now=timezone.now()
        )
        return f"The fleet's mode is {chosen.mode} again."

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Choose the mode through the service."""
        chosen = services.set_maintenance(
            mode=obj.mode,
            reason=obj.reason,
            author=request.user.get_username(),
            now=timezone.now(),
        )
        obj.pk, obj.created_at = chosen.pk, chosen.created_at

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: history stays as it was."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: history stays as it was."""
        return False


def banner(request: HttpRequest) -> list[str] | None:
    """Say on each page of the console that the fleet is held."""
    asked = maintenance.in_force() if request.user.is_staff else None
    return None if asked is None else [asked.message, "danger"]
