"""Paths of the sharing policy and of what it means for a job."""

from django.urls import path

from scheduling.api import attention, dry_run, fleet_day, previews, quota, views

urlpatterns = [
    path("jobs/dry-run", dry_run.DryRunView.as_view(), name="job-dry-run"),
    path("eligibility", dry_run.EligibilityView.as_view(), name="eligibility"),
    path("attention", attention.AttentionView.as_view(), name="attention"),
    path("fleet/day", fleet_day.FleetDayView.as_view(), name="fleet-day"),
    path("quota", quota.QuotaView.as_view(), name="quota"),
    path("policy", views.PolicyView.as_view(), name="policy"),
    path("policy/previews", previews.PreviewsView.as_view(), name="policy-previews"),
    path(
        "policy/previews/<uuid:preview_id>", previews.PreviewView.as_view(), name="policy-preview"
    ),
    path("jobs/<uuid:job_id>/explanation", views.ExplanationView.as_view(), name="job-explanation"),
]
