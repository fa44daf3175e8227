"""Jobs and rounds of all tenants in the operators' console."""

from collections.abc import Callable
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
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from core.admin import KeptAsHistory, NewestInForce, OperatorAdmin, ReadOnlyAdmin, Revertible
from core.console_actions import WhyForm, do_to_each
from core.fields import ReasonField
from jobs import maintenance, services
from jobs.models import Assignment, Job, Maintenance, Quarantine, Round


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin, ModelAdmin):
    """Jobs; the actions pause, resume and cancel."""

    when_empty = "No job yet: tenants submit them, on their dashboard or by propius job submit."
    list_display = [
        "name", "tenant", "status", "outcome", "version", "submitted_at", "quarantine",
    ]  # fmt: skip
    list_filter = ["status", "outcome", ("held", admin.EmptyFieldListFilter), "tenant"]
    list_select_related = ["tenant"]
    search_fields = ["name", "id"]
    actions = ["pause", "resume", "cancel"]
    action_form = WhyForm

    @admin.display(description="Quarantine")
    def quarantine(self, job: Job) -> str:
        """Say why it is held, or lead to the form that holds it."""
        if job.held or job.status == Job.Status.FINISHED:
            return job.held or "–"
        asked = urlencode({"kind": Quarantine.Kind.JOB, "target": str(job.id)})
        path = reverse("admin:jobs_quarantine_add")
        return format_html('<a href="{}?{}" class="underline">Put in</a>', path, asked)

    @admin.action(description="Pause the selected jobs", permissions=["operate"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Select no more devices for them."""
        _move(request, queryset, services.pause, "paused")

    @admin.action(description="Resume the selected jobs", permissions=["operate"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Select devices for them again."""
        _move(request, queryset, services.resume, "resumed")

    @admin.action(description="Cancel the selected jobs", permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """End each job that has not ended."""
        _move(request, queryset, services.cancel, "cancelled")


def _move(request: HttpRequest, jobs: QuerySet[Job], move: Callable[..., Job], done: str) -> None:
    who = {"actor": request.user.get_username(), "now": timezone.now()}
    do_to_each(request, jobs, lambda job, why: move(job_id=job.id, reason=why, **who), done=done)


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
    reason = ReasonField(help_text="Tenants whose jobs wait read it")

    class Meta:
        model = Maintenance
        fields = ("mode", "reason")


@admin.register(Maintenance)
class MaintenanceAdmin(NewestInForce, KeptAsHistory, Revertible, OperatorAdmin, ModelAdmin):
    """The newest row is in force. A change is a new row; rows are history."""

    form = MaintenanceForm
    list_display = ["mode", "state", "reason", "author", "created_at", "back"]
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


class QuarantineForm(forms.ModelForm):  # type: ignore[type-arg]
    """What, and why; faults show beside the fields."""

    kind = forms.ChoiceField(choices=Quarantine.Kind.choices, widget=UnfoldAdminSelectWidget)
    target = forms.CharField(
        max_length=100,
        widget=UnfoldAdminTextInputWidget,
        help_text="The job's id; the program's SHA-256 or the function's name; or name and version "
        "of the software as the list of devices shows them, like propius-python/0.1.0",
    )
    reason = ReasonField(
        help_text="Tenants whose jobs are held, and devices that are called back, read it"
    )

    class Meta:
        model = Quarantine
        fields = ("kind", "target", "reason")


@admin.register(Quarantine)
class QuarantineAdmin(KeptAsHistory, Revertible, OperatorAdmin, ModelAdmin):
    """What is offered to no device, and what was: each lifted, or put back, with one click."""

    form = QuarantineForm
    list_display = [
        "target", "kind", "state", "reason", "author", "created_at", "lifted_by", "lifted_at",
        "back",
    ]  # fmt: skip
    list_filter = ["kind", ("lifted_at", admin.EmptyFieldListFilter)]
    search_fields = ["target", "reason"]
    ordering = ["-id"]
    revert_permission = "jobs.add_quarantine"

    @admin.display(description="State")
    def state(self, row: Quarantine) -> str:
        """Say whether it is in force."""
        return "lifted" if row.lifted_at else "in quarantine"

    def buttons(self, row: Quarantine) -> dict[str, str]:
        """Lift what is in force; put back what was lifted."""
        return {"revert": "Put back" if row.lifted_at else "Lift"}

    def revert(self, *, row_id: int, author: str) -> str:
        """Lift a row, or put it in force again. Raises QuarantineInvalid."""
        now = timezone.now()
        if Quarantine.objects.get(id=row_id).lifted_at is None:
            row = services.lift(quarantine_id=row_id, author=author, now=now)
            return f"{row.target} is offered to devices again."
        row = services.again(quarantine_id=row_id, author=author, now=now)
        return f"{row.target} is in quarantine again."

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Put it in quarantine through the service."""
        made = services.put_in_quarantine(
            kind=obj.kind,
            target=obj.target,
            reason=obj.reason,
            author=request.user.get_username(),
            now=timezone.now(),
        )
        obj.pk, obj.created_at = made.pk, made.created_at


def banner(request: HttpRequest) -> list[str] | None:
    """Say on each page of the console that the fleet is held."""
    asked = maintenance.in_force() if request.user.is_staff else None
    return None if asked is None else [asked.message, "danger"]
