"""Paths of pools, enrolment and devices."""

from django.urls import path

from clients.api import views

urlpatterns = [
    path("attributes", views.AttributeListView.as_view(), name="attributes"),
    path("pools", views.PoolListView.as_view(), name="pools"),
    path(
        "pools/<uuid:pool_id>/enrolment-tokens",
        views.EnrolmentTokenListView.as_view(),
        name="enrolment-tokens",
    ),
    path(
        "enrolment-tokens/<uuid:token_id>",
        views.EnrolmentTokenView.as_view(),
        name="enrolment-token",
    ),
    path("devices", views.DeviceListView.as_view(), name="devices"),
    path("devices/enrol", views.EnrolView.as_view(), name="enrol"),
    path("devices/leave", views.LeaveView.as_view(), name="leave"),
    path("devices/<uuid:device_id>", views.DeviceView.as_view(), name="device"),
    path("devices/<uuid:device_id>/revoke", views.DeviceRevokeView.as_view(), name="device-revoke"),
]
