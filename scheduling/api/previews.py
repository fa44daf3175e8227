"""A policy or shares, tried on the last hours: for operators, who belong to no tenant."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth import login
from django.contrib.auth.models import AnonymousUser, User
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core import origin
from core.parsing import StrictJson
from core.strict import StrictSerializer
from scheduling import previews
from scheduling.api.serializers import ReplaySerializer
from scheduling.sharing import Terms
from tenants.replays import answer_once
from tenants.scopes import system_scope

SESSION_S = previews.KEPT_S
"""For as long as a preview is kept, who asked for it by password may look for its answer."""


class TermsSerializer(StrictSerializer):
    """A tenant's share; in devices at once, but for the weight."""

    weight = serializers.FloatField(default=1.0)
    guarantee = serializers.IntegerField(default=0)
    ceiling = serializers.IntegerField(default=None, allow_null=True)
    lending_limit = serializers.IntegerField(default=None, allow_null=True)


class ProposalSerializer(StrictSerializer):
    """What to try: a policy, tenants' shares, or both."""

    hours = serializers.FloatField(default=6.0, help_text="Back from now")
    policy = serializers.CharField(
        default=None, allow_null=True, max_length=100, help_text="Null is the one in force"
    )
    parameters = serializers.DictField(default=dict)
    shares = serializers.DictField(
        child=TermsSerializer(), default=dict, help_text="By the tenant's slug"
    )
    seed = serializers.IntegerField(default=0, min_value=0, max_value=2**31)


class PreviewSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """The same recorded hours under what is in force and under what is proposed."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    minutes = serializers.IntegerField(help_text="That were recorded")
    present = ReplaySerializer()
    proposed = ReplaySerializer()


class AskedPreviewSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """How far it is; one of preview and fault is there in the end."""

    id = serializers.UUIDField()
    phase = serializers.ChoiceField(
        choices=previews.PHASES, help_text="asked: no worker has begun; else what is replayed"
    )
    fault = serializers.CharField(allow_blank=True, help_text="Why there will be none")
    preview = PreviewSerializer(allow_null=True)


class MayChoosePolicy(BasePermission):
    """An operator who may do the same in the console."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether who asks may put a policy in force."""
        user: User | AnonymousUser = request.user
        if user.is_authenticated and not hasattr(view, str(request.method).lower()):
            return True  # what the view does not have is answered by 405, not by 403
        if not user.is_staff:
            return False
        with system_scope():
            return user.has_perm("scheduling.add_sharingpolicy")


class OperatorView(APIView):
    """Base: an operator's session, or name and password with the request itself."""

    # A token of the API speaks for a tenant, and a preview tells of all of them.
    authentication_classes = [BasicAuthentication, SessionAuthentication]
    permission_classes = [MayChoosePolicy]
    parser_classes = [StrictJson]


class PreviewsView(OperatorView):
    """Has a worker preview."""

    @extend_schema(
        operation_id="policy_previews_create",
        request=ProposalSerializer,
        responses={202: AskedPreviewSerializer},
    )
    def post(self, request: Request) -> Response:
        """Ask for a preview, of seconds to minutes. A password given here opens a session."""
        asked = ProposalSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        name = request.user.get_username()
        origin.name(name)
        with system_scope():
            answer = answer_once(
                request, lambda: _ask(asked.validated_data), caller=f"operator {name}"
            )
        if isinstance(request.successful_authenticator, BasicAuthentication):
            # Each look for the answer would else be a sign-in: slow, counted and audited.
            assert isinstance(request.user, User)
            login(request._request, request.user)
            request._request.session.set_expiry(SESSION_S)
        return answer


class PreviewView(OperatorView):
    """A preview that was asked for."""

    @extend_schema(operation_id="policy_previews_retrieve", responses=AskedPreviewSerializer)
    def get(self, request: Request, preview_id: UUID) -> Response:
        """Show how far it is, or both sides. It is kept for an hour."""
        return Response(AskedPreviewSerializer(previews.answer(preview_id)).data)


def _ask(given: dict[str, Any]) -> Response:
    shares = {slug: Terms(**terms) for slug, terms in given["shares"].items()}
    proposal = previews.Proposal(**{**given, "shares": shares})
    preview_id = previews.ask(proposal, now=timezone.now())
    return Response(
        AskedPreviewSerializer(previews.Asked(preview_id)).data,
        status=202,
        headers={"Location": reverse("policy-preview", args=[preview_id])},
    )
