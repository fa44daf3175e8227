"""The people of a tenant: members, their roles, and invitations."""

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
from frontend.access import member_page
from frontend.selectors import settings as settings_selectors
from frontend.views.forms import tell
from frontend.views.pages import page, shown_once
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
            made_by=principal.user_id,
            now=now,
        )
    except PropiusError as error:
        tell(form, error)
        return _people(request, principal, form=form, status=422)
    link = request.build_absolute_uri(invitation_path(secret))
    return shown_once(_people(request, principal, invited=made, link=link))


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
