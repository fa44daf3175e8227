"""Paths of programs, parameters and model versions."""

from django.urls import path

from aggregation.api import device_tasks, usage, views
from jobs.models import Artifact

_VERSIONS = "jobs/<uuid:job_id>/versions"
_SUM = "jobs/<uuid:job_id>/rounds/<int:number>/sum"

urlpatterns = [
    path("parameters", views.ParametersListView.as_view(), name="parameters-list"),
    path(
        "parameters/<str:digest>",
        views.ArtifactView.as_view(kind=Artifact.Kind.PARAMETERS),
        name="parameters",
    ),
    path("programs", views.ProgramListView.as_view(), name="programs"),
    path(
        "programs/<str:digest>",
        views.ArtifactView.as_view(kind=Artifact.Kind.PROGRAM),
        name="program",
    ),
    path(
        "jobs/<uuid:job_id>/parameters",
        views.RoundParametersView.as_view(),
        name="round-parameters",
    ),
    path(
        "devices/<uuid:device_id>/tasks",
        device_tasks.DeviceTaskListView.as_view(),
        name="device-tasks",
    ),
    path(
        "devices/<uuid:device_id>/totals",
        device_tasks.DeviceTotalsView.as_view(),
        name="device-totals",
    ),
    path(
        "assignments/<uuid:assignment_id>/device",
        device_tasks.DeviceOfTaskView.as_view(),
        name="assignment-device",
    ),
    path(
        "assignments/<uuid:assignment_id>/device/tasks",
        device_tasks.TasksBesideListView.as_view(),
        name="assignment-device-tasks",
    ),
    path("usage", usage.UsageView.as_view(), name="usage"),
    path(_SUM, views.SumView.as_view(), name="sum"),
    path(f"{_SUM}/download", views.SumDownloadView.as_view(), name="sum-download"),
    path(_VERSIONS, views.VersionListView.as_view(), name="versions"),
    path(
        f"{_VERSIONS}/latest/download",
        views.VersionDownloadView.as_view(),
        name="version-download-latest",
    ),
    path(
        f"{_VERSIONS}/<int:number>/download",
        views.VersionDownloadView.as_view(),
        name="version-download",
    ),
    path(f"{_VERSIONS}/<int:number>/pin", views.VersionPinView.as_view(), name="version-pin"),
]
