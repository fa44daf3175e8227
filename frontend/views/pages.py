"""One answer for a live page: the whole of it, or its sections for a page without a socket."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from frontend import fragments
from frontend.fragments import Topic
from tenants.access import WRITE_JOBS, Principal
from tenants.authentication import SESSION_TENANT
from tenants.models import Member
from tenants.scopes import system_scope


def live_page(
    request: HttpRequest, principal: Principal, topic: Topic, *, socket: str
) -> HttpResponse:
    """Render a live page, or only its sections if the page itself asks for news."""
    if request.headers.get("X-Propius-Sections"):
        return HttpResponse("".join(fragments.sections(topic, now=timezone.now()).values()))
    shown = fragments.context(topic, now=timezone.now())
    if topic.query:
        socket = f"{socket}?{topic.query}"
    return page(request, principal, f"frontend/{topic.page}/page.html", {**shown, "socket": socket})


def page(
    request: HttpRequest,
    principal: Principal,
    template: str,
    shown: dict[str, Any],
    *,
    status: int = 200,
) -> HttpResponse:
    """Render a page with what its frame needs: who is here and for which tenant."""
    memberships = _memberships(request)
    chosen = [one for one in memberships if one.tenant_id == principal.tenant_id]
    frame = {
        "me": principal,
        "tenant_name": chosen[0].tenant.name if chosen else principal.tenant_slug,
        "memberships": memberships,
        "section": template.split("/")[1],
        "may_submit": principal.may(WRITE_JOBS),
    }
    return render(request, template, {**frame, **shown}, status=status)


def shown_once(answer: HttpResponse) -> HttpResponse:
    """Have nobody keep an answer that holds a secret."""
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _memberships(request: HttpRequest) -> list[Member]:
    """Return the tenants to switch between: all of this user's own, hence across walls."""
    if request.user.pk is None:
        return []
    with system_scope():
        rows = Member.objects.select_related("tenant").filter(user_id=request.user.pk)
        return list(rows.order_by("id"))


def choose(request: HttpRequest, tenant_id: str) -> bool:
    """Act for another of one's tenants from now on; False if it is none of them."""
    if tenant_id not in {str(one.tenant_id) for one in _memberships(request)}:
        return False
    request.session[SESSION_TENANT] = tenant_id
    return True
