"""Who may see a page: one decorator signs in, finds the member, and enters the tenant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRedirect

from core import origin
from tenants import scopes
from tenants.access import Principal
from tenants.authentication import (
    TenantNotChosen,
    acting_member,
    memberships,
    principal_of,
)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, Principal, P], HttpResponse]


def member_page(needed: str) -> Callable[[View[P]], Callable[..., HttpResponse]]:
    """Let members whose role holds the scope ``needed`` in, inside their tenant's walls.

    The view gets ``(request, principal, …)`` and must render at once: its queries run in the
    request's transaction, where the tenant is set.
    """

    def decorate(view: View[P]) -> Callable[..., HttpResponse]:
        @functools.wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            principal = signed_in(request)
            if isinstance(principal, HttpResponse):
                return principal
            if not principal.may(needed):
                raise PermissionDenied(f"Your role ({principal.role}) does not allow this.")
            scopes.enter(principal.tenant_id)
            origin.name(principal.name)
            return view(request, principal, *args, **kwargs)

        return wrapped

    return decorate


def signed_in(request: HttpRequest) -> Principal | HttpResponse:
    """Return who asks, or the answer that they get instead of a page."""
    if not isinstance(request.user, User):
        return _to_sign_in(request)
    try:
        member = acting_member(request.user, request.session)
    except TenantNotChosen:
        choices = memberships(request.user)
        return render(request, "frontend/choose_tenant.html", {"choices": choices}, status=403)
    if member is None:
        return render(request, "frontend/no_tenant.html", status=403)
    return principal_of(member)


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    htmx = getattr(request, "htmx", None)
    if not htmx:
        return redirect_to_login(request.get_full_path())
    # A fragment's address is no place to come back to; the page around it is.
    page = urlsplit(htmx.current_url_abs_path or "/").path
    return HttpResponseClientRedirect(redirect_to_login(page)["Location"])
