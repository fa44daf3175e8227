"""Paths of the caller, its tenant's people and its tokens."""

from django.urls import path

from tenants.api import people, views, webhooks

urlpatterns = [
    path("me", views.CallerView.as_view(), name="me"),
    path("tokens", views.TokenListView.as_view(), name="tokens"),
    path("tokens/<uuid:token_id>", views.TokenView.as_view(), name="token"),
    path("members", people.MemberListView.as_view(), name="members"),
    path("members/<int:member_id>", people.MemberView.as_view(), name="member"),
    path("invitations", people.InvitationListView.as_view(), name="invitations"),
    path("invitations/<uuid:invitation_id>", people.InvitationView.as_view(), name="invitation"),
    path("webhooks", webhooks.WebhookListView.as_view(), name="webhooks"),
    path("webhooks/<uuid:webhook_id>", webhooks.WebhookView.as_view(), name="webhook"),
    path(
        "webhooks/<uuid:webhook_id>/test", webhooks.WebhookTestView.as_view(), name="webhook-test"
    ),
    path(
        "webhooks/<uuid:webhook_id>/deliveries",
        webhooks.DeliveryListView.as_view(),
        name="deliveries",
    ),
    path("audit", people.AuditView.as_view(), name="audit"),
]
