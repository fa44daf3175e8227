"""Paths of the caller and tokens."""

from django.urls import path

from tenants.api import views

urlpatterns = [
    path("me", views.CallerView.as_view(), name="me"),
    path("tokens", views.TokenListView.as_view(), name="tokens"),
    path("tokens/<uuid:token_id>", views.TokenView.as_view(), name="token"),
]
