"""The operators' console, to look at: plans as they were, minutes recorded, why jobs wait."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from core.admin import ReadOnlyAdmin, ReadTogether
from jobs.models import Job
from scheduling import explaining, selectors, waits
from scheduling.models import FleetMinute, PlanRecord, WaitingJob


@admin.register(PlanRecord)
class PlanRecordAdmin(ReadOnlyAdmin, ModelAdmin):
    """Published plans, sampled and kept for a day: which rule gave a device to a round."""

    list_display = ["version", "policy", "parameters", "at", "rounds", "slots"]
    list_filter = ["policy"]
    ordering = ["-version"]
    fields = ["version", "policy", "parameters", "rule", "at", "planned", "assignments"]
    readonly_fields = fields

    @admin.display(description="Open rounds")
    def rounds(self, record: PlanRecord) -> int:
        """Return how many rounds were open."""
        return int(record.summary.get("rounds", 0))

    @admin.display(description="Open slots")
    def slots(self, record: PlanRecord) -> int:
        """Return how many slots were open."""
        return int(record.summary.get("slots", 0))

    @admin.display(description="Rule")
    def rule(self, record: PlanRecord) -> str:
        """Say by which rule the policy serves rounds."""
        return explaining.rule_of(record.policy, record.parameters)

    @admin.display(description="What was planned: the first rounds of the first queues")
    def planned(self, record: PlanRecord) -> SafeString:
        """Show the summary."""
        return format_html("<pre>{}</pre>", json.dumps(record.summary, indent=1))

    @admin.display(description="Devices that were given to rounds by it, or until the next record")
    def assignments(self, record: PlanRecord) -> SafeString:
        """List assignments by their plan version."""
        rows = selectors.bound_under(record)
        return format_html(
            "<ul>{}</ul>",
            format_html_join(
                "",
                "<li>device {} to {} round {} of {} ({}), plan {}: {}</li>",
                (
                    (
                        one.device_id, one.round.kind, one.round.number, one.job.name,
                        one.job_id, one.plan_version, one.status,
                    )
                    for one in rows
                ),
            ),
        )  # fmt: skip


@admin.register(FleetMinute)
class FleetMinuteAdmin(ReadOnlyAdmin, ModelAdmin):
    """Demand and supply by the minute, kept for a week."""

    list_display = ["at", "check_ins", "rounds"]
    ordering = ["-at"]

    @admin.display(description="Check-ins")
    def check_ins(self, minute: FleetMinute) -> int:
        """Add up the check-ins."""
        return sum(minute.supply.values())

    @admin.display(description="Rounds opened")
    def rounds(self, minute: FleetMinute) -> int:
        """Count the rounds."""
        return len(minute.demand.get("rounds", ()))


@admin.register(WaitingJob)
class WaitingJobAdmin(ReadTogether, ReadOnlyAdmin, ModelAdmin):
    """Why each job waits that does, with the names of all who are ahead."""

    when_empty = "No job waits: each that is admitted and wants devices has them."
    list_display = ["name", "tenant", "status", "why", "priority", "submitted_at"]
    list_filter = ["status", "tenant"]
    search_fields = ["name", "id"]
    list_select_related = ["tenant"]
    fields = ["name", "tenant", "status", "priority", "submitted_at", "explained"]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[WaitingJob]:
        """List those that wait; the page of one stays while it does not wait for a moment."""
        rows: QuerySet[WaitingJob] = super().get_queryset(request)
        match = request.resolver_match
        listed = match is not None and (match.url_name or "").endswith("_changelist")
        rows = rows.filter(waits.that_wait()) if listed else rows
        return rows.exclude(status=Job.Status.FINISHED).order_by("id")

    def read_together(self, rows: list[Any]) -> None:
        """Find why they wait."""
        found = waits.in_brief(rows, now=timezone.now())
        for row in rows:
            row.why = found[row.id]

    @admin.display(description="Why it waits")
    def why(self, job: Any) -> str:
        """Say it in a line."""
        return str(job.why)

    @admin.display(description="Why it waits")
    def explained(self, job: WaitingJob) -> SafeString:
        """Explain everything."""
        found = explaining.explain(job, now=timezone.now(), everything=True)
        lines = format_html_join("", "<dt>{}</dt><dd>{}</dd>", waits.in_full(found))
        return format_html('<dl class="terms">{}</dl>', lines)
