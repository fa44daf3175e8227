"""Signing in, and choosing for which tenant."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from frontend.views import pages


class SignIn(LoginView):
    """Django's own form; ``next`` is followed only within this site."""

    template_name = "frontend/sign_in.html"
    redirect_authenticated_user = True
    http_method_names = ["get", "head", "post", "options"]  # the base takes PUT for a POST


@require_POST
@login_required
def choose_tenant(request: HttpRequest) -> HttpResponse:
    """Switch to another of one's tenants; what was open may be the other's, so start over."""
    if not pages.choose(request, request.POST.get("tenant", "")):
        raise Http404
    return redirect("frontend:overview")
