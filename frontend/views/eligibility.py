"""The eligibility explorer: how many devices a constraint leaves."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from frontend.access import member_page
from frontend.selectors import eligibility as selectors
from frontend.views.pages import page
from tenants.access import READ_DEVICES, Principal

FOUND = "frontend/devices/_found.html"


@require_safe
@member_page(READ_DEVICES)
def explore(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Show how many devices meet the constraint of the address; only that to who types on."""
    found = selectors.find(
        tenant_id=principal.tenant_id,
        asked=request.GET.get("q", ""),
        pools=request.GET.getlist("pool")[:50],
        now=timezone.now(),
    )
    if request.headers.get("Accept") == "application/json":
        answer: HttpResponse = JsonResponse(
            {"public": found.public, "told": found.told, "fault": found.fault_text}
        )
    elif getattr(request, "htmx", None):
        answer = render(request, FOUND, {"found": found})
    else:
        choices = selectors.choices(tenant_id=principal.tenant_id)
        shown, status = {"found": found, "choices": choices}, 422 if found.fault else 200
        template = "frontend/devices/eligible.html"
        answer = page(request, principal, template, shown, status=status)
    patch_vary_headers(answer, ["HX-Request", "Accept"])  # one address, the whole or parts
    return answer
