"""Paths of the sharing policy and of what it means for a job."""

from django.urls import path

from scheduling.api import views

urlpatterns = [
    path("policy", views.PolicyView.as_view(), name="policy"),
    path("jobs/<uuid:job_id>/explanation", views.ExplanationView.as_view(), name="job-explanation"),
]
