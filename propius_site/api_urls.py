"""Everything below /api/v1/, gathered from the apps that own it."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from propius_site.manifest_view import ManifestView

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="api-docs"),
    path("", include("tenants.api.urls")),
    path("", include("clients.api.urls")),
    path("", include("jobs.api.urls")),
    path("jobs/<uuid:job_id>/manifest", ManifestView.as_view(), name="job-manifest"),
    path("", include("scheduling.api.urls")),
    path("", include("aggregation.api.urls")),
]
