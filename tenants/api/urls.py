"""Paths of the caller, its tenant's people and its tokens."""

from django.urls import path

from tenants.api import people, views

urlpatterns = [
    path("me", views.CallerView.as_view(), name="me"),
    path("tokens", views.TokenListView.as_view(), name="tokens"),
    path("tokens/<uuid:token_id>", views.TokenView.as_view(), name="token"),
    path("members", people.MemberListView.as_view(), name="members"),
    path("members/<int:member_id>", people.MemberView.as_view(), name="member"),
    path("invitations", people.InvitationListView.as_view(), name="invitations"),
    path("invitations/<uuid:invitation_id>", people.InvitationView.as_view(), name="invitation"),
    path("audit", people.AuditView.as_view(), name="audit"),
]
