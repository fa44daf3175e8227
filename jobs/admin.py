"""Jobs and rounds of all tenants in the operators' console."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin

from core.admin import ReadOnlyAdmin
from jobs import services
from jobs.models import Assignment, Job, Round


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
