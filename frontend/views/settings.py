"""Settings of a tenant: its people, its API tokens, its audit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from core.errors import Forbidden, NotFound, PropiusError
from frontend import words
from frontend.access import member_page
from frontend.selectors import settings as settings_selectors
from frontend.views.forms import tell
from frontend.views.pages import page
from tenants import access, services
from tenants.access import READ_TENANT, WRITE_TENANT, Principal
from tenants.models import Role
from tenants.selectors import invitation_path


class InvitationForm(forms.Form):
    """Whom to invite, and as what."""

    name = forms.CharField(max_length=150, label="Who", help_text="A name or an address: a note")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.SUBMITTER, label="Role")
    days = forms.IntegerField(
        min_value=1, max_value=30, initial=7, label="Days", help_text="Until the link expires"
    )


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(max_length=100, label="Name", help_text="What it is for")
    scopes = forms.MultipleChoiceField(
        choices=[(one, one) for one in access.ALL_SCOPES],
        widget=forms.CheckboxSelectMultiple,
        initial=list(access.ALL_SCOPES),
        label="May",
    )
    days = forms.IntegerField(
        min_value=1, max_value=3650, required=False, label="Days",
        help_text="Until it expires; never if empty",
    )  # fmt: skip


@require_safe
@member_page(READ_TENANT)
def people(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Show who belongs to the tenant and who is invited."""
    return _people(request, principal)


@require_POST
@member_page(WRITE_TENANT)
def invite(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Make an invitation and show its link, in this answer only."""
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _people(request, principal, form=form, status=422)
    given, now = form.cleaned_data, timezone.now()
    try:
        made, secret = services.create_invitation(
            tenant_id=principal.tenant_id,
            name=given["name"],
            role=given["role"],
            expires_at=now + timedelta(days=given["days"]),
            by_role=access.acting_role(principal),
            actor=principal.name,
            now=now,
        )
    except PropiusError as error:
        tell(form, error)
        return _people(request, principal, form=form, status=422)
    link = request.build_absolute_uri(invitation_path(secret))
    answer = _people(request, principal, invited=made, link=link)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@require_POST
@member_page(WRITE_TENANT)
def uninvite(request: HttpRequest, principal: Principal, invitation_id: UUID) -> HttpResponse:
    """Make an invitation's link useless."""
    try:
        services.revoke_invitation(
            invitation_id=invitation_id, actor=principal.name, now=timezone.now()
        )
    except NotFound:
        raise Http404 from None
    except PropiusError as error:
        messages.error(request, f"{error.detail}.")
    else:
        messages.success(request, "Revoked: the link opens nothing any more.")
    return redirect("frontend:settings")


@require_POST
@member_page(WRITE_TENANT)
def set_member(request: HttpRequest, principal: Principal, member_id: int) -> HttpResponse:
    """Change a member's role, or remove the member where the role is empty."""
    role = request.POST.get("role", "")
    who: dict[str, Any] = {
        "member_id": member_id,
        "by_role": access.acting_role(principal),
        "actor": principal.name,
        "now": timezone.now(),
    }
    try:
        if role:
            member = services.change_role(role=role, **who)
            messages.success(request, f"{member.user.get_username()} is now {member.role}.")
        else:
            services.remove_member(**who)
            messages.success(request, "Removed. Open pages of theirs close within half a minute.")
    except NotFound:
        raise Http404 from None
    except Forbidden as error:
        raise PermissionDenied(error.detail) from None
    except PropiusError as error:
        messages.error(request, f"{error.detail}.")
    return redirect("frontend:settings")


@require_safe
@member_page(READ_TENANT)
def tokens(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Show API tokens: what each may, until when, and when it was last used."""
    return _tokens(request, principal)


@require_POST
@member_page(WRITE_TENANT)
def create_token(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Create an API token and show its secret, in this answer only."""
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _tokens(request, principal, form=form, status=422)
    given, now = form.cleaned_data, timezone.now()
    made, secret = services.create_token(
        tenant_id=principal.tenant_id,
        name=given["name"],
        scopes=given["scopes"],
        created_by=principal.name,
        expires_at=now + timedelta(days=given["days"]) if given["days"] else None,
        now=now,
    )
    answer = _tokens(request, principal, new_token=made, secret=secret)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@require_POST
@member_page(WRITE_TENANT)
def revoke_token(request: HttpRequest, principal: Principal, token_id: UUID) -> HttpResponse:
    """Revoke an API token at once."""
    try:
        services.revoke_token(
            tenant_id=principal.tenant_id,
            token_id=token_id,
            actor=principal.name,
            now=timezone.now(),
        )
    except NotFound:
        raise Http404 from None
    messages.success(request, "Revoked: its next request is refused.")
    return redirect("frontend:settings-tokens")


@require_safe
@member_page(READ_TENANT)
def audit(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Show who changed what, when and from where."""
    asked, action = (words.searched(request.GET.get(one, "")) for one in ("q", "action"))
    found = settings_selectors.audit(asked=asked, action=action, number=request.GET.get("page"))
    shown = {"audit": found, "asked": asked, "action": action}
    return page(request, principal, "frontend/settings/audit.html", shown)


def _people(
    request: HttpRequest, principal: Principal, *, status: int = 200, **shown: Any
) -> HttpResponse:
    shown.setdefault("form", InvitationForm())
    shown |= {
        "people": settings_selectors.people(now=timezone.now()),
        "roles": Role.choices,
        "may_write": principal.may(WRITE_TENANT),
    }
    return page(request, principal, "frontend/settings/people.html", shown, status=status)


def _tokens(
    request: HttpRequest, principal: Principal, *, status: int = 200, **shown: Any
) -> HttpResponse:
    shown.setdefault("form", TokenForm())
    shown |= {
        "tokens": settings_selectors.tokens(now=timezone.now()),
        "may_write": principal.may(WRITE_TENANT),
    }
    return page(request, principal, "frontend/settings/tokens.html", shown, status=status)
