"""Path of the sharing policy."""

from django.urls import path

from scheduling.api import views

urlpatterns = [
    path("policy", views.PolicyView.as_view(), name="policy"),
]
