"""Paths of programs, parameters and model versions."""

from django.urls import path

from aggregation.api import views
from jobs.models import Artifact

_VERSIONS = "jobs/<uuid:job_id>/versions"

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
