"""A tenant's API tokens, and the audit of all that was changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from core.errors import NotFound
from frontend import words
from frontend.access import member_page
from frontend.selectors import settings as settings_selectors
from frontend.views.pages import page, shown_once
from tenants import access, services
from tenants.access import READ_TENANT, WRITE_TENANT, Principal


class TokenForm(forms.Form):
    """A new API token."""

    name = forms.CharField(max_length=100, label="Name", help_text="What it is for")
    scopes = forms.MultipleChoiceField(
        choices=[(one, one) for one in access.ALL_SCOPES],
        widget=forms.CheckboxSelectMultiple,
        initial=[one for one in access.ALL_SCOPES if one.endswith(":read")] + [access.WRITE_JOBS],
        label="May",
    )
    days = forms.IntegerField(
        min_value=1, max_value=3650, required=False, initial=90, label="Days",
        help_text="Until it expires; never if empty",
    )  # fmt: skip


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
        made_by=principal.user_id,
        expires_at=now + timedelta(days=given["days"]) if given["days"] else None,
        now=now,
    )
    return shown_once(_tokens(request, principal, new_token=made, secret=secret))


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


def _tokens(
    request: HttpRequest, principal: Principal, *, status: int = 200, **shown: Any
) -> HttpResponse:
    shown.setdefault("form", TokenForm())
    shown |= {
        "tokens": settings_selectors.tokens(now=timezone.now()),
        "may_write": principal.may(WRITE_TENANT),
    }
    return page(request, principal, "frontend/settings/tokens.html", shown, status=status)
