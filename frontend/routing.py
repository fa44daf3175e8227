"""Addresses of the sockets of live pages."""

from django.urls import path

from frontend.consumers import JobConsumer, JobsConsumer, OverviewConsumer

websocket_urlpatterns = [
    path("ws/overview/", OverviewConsumer.as_asgi()),
    path("ws/jobs/", JobsConsumer.as_asgi()),
    path("ws/jobs/<uuid:job_id>/", JobConsumer.as_asgi()),
]
