"""Accepting an invitation, with an account that one has or with a new one."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from core import knobs, origin, rates
from core.errors import PropiusError
from frontend.views import pages
from frontend.views.forms import tell
from tenants import services


class AccountForm(forms.Form):
    """A name and a password for somebody new."""

    username = forms.CharField(max_length=150, label="User name")
    password = forms.CharField(
        label="Password", widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest) -> HttpResponse:
    """Show what one is invited to; a POST accepts it."""
    secret = request.POST.get("invitation") or request.GET.get("invitation", "")
    _count(request)
    try:
        invitation = services.invitation_of(secret=secret, now=timezone.now())
    except services.InvitationUnknown as error:
        return _over(request, error)
    form = AccountForm(request.POST or None)
    shown = {"invitation": invitation, "secret": secret, "form": form, "sign_in": _sign_in(secret)}
    if request.method != "POST":
        return _show(request, shown)
    if isinstance(request.user, User):
        try:
            services.accept_invitation(secret=secret, user=request.user, now=timezone.now())
        except services.InvitationUnknown as error:  # somebody else was faster
            return _over(request, error)
    elif not _new_account(request, form, secret):
        return _show(request, shown, status=422)
    pages.choose(request, str(invitation.tenant_id))
    messages.success(request, f"Welcome to {invitation.tenant.name}.")
    return redirect("frontend:overview")


def _over(request: HttpRequest, error: PropiusError) -> HttpResponse:
    return render(request, "frontend/join_over.html", {"why": error.detail}, status=404)


def _new_account(request: HttpRequest, form: AccountForm, secret: str) -> bool:
    if not form.is_valid():
        return False
    try:
        user = services.join(secret=secret, **form.cleaned_data, now=timezone.now())
    except PropiusError as error:
        tell(form, error)
        return False
    login(request, user)
    return True


def _sign_in(secret: str) -> str:
    back = reverse("frontend:join") + "?" + urlencode({"invitation": secret})
    return reverse("frontend:sign-in") + "?" + urlencode({"next": back})


def _count(request: HttpRequest) -> None:
    """A secret has 256 bits; the rate is for who floods, not for who guesses."""
    known = knobs.get()
    rate = rates.Rate("join", known.sign_ins_per_address, known.sign_in_window_s)
    rates.require(rate, origin.network(origin.get().address), "attempts to join")


def _show(request: HttpRequest, shown: dict[str, Any], *, status: int = 200) -> HttpResponse:
    answer = render(request, "frontend/join.html", shown, status=status)
    # The address of this page holds the secret: no other site learns it. (With "no-referrer" the
    # browser would send the form with "Origin: null", which is refused as forged.)
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer
