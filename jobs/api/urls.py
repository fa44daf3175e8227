"""Paths of jobs and rounds."""

from django.urls import path

from jobs.api import distributions, fleet, rounds, views

urlpatterns = [
    path(
        "attributes/distributions",
        distributions.DistributionListView.as_view(),
        name="distributions",
    ),
    path("fleet", fleet.FleetView.as_view(), name="fleet"),
    path("jobs", views.JobListView.as_view(), name="jobs"),
    path("jobs/<uuid:job_id>", views.JobView.as_view(), name="job"),
    *(
        path(
            f"jobs/<uuid:job_id>/{action}",
            views.JobActionView.as_view(action=action),
            name=f"job-{action}",
        )
        for action in ("cancel", "pause", "resume", "finish")
    ),
    path("jobs/<uuid:job_id>/clone", views.JobCloneView.as_view(), name="job-clone"),
    path("jobs/<uuid:job_id>/events", views.JobEventsView.as_view(), name="job-events"),
    path("jobs/<uuid:job_id>/rounds", rounds.RoundListView.as_view(), name="rounds"),
    path("jobs/<uuid:job_id>/rounds/<int:number>", rounds.RoundView.as_view(), name="round"),
]
