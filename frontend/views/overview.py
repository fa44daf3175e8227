"""The overview: what is going on, and does anything need me?"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from frontend.access import member_page
from frontend.fragments import Topic
from frontend.views.pages import live_page
from tenants.access import READ_JOBS, WRITE_JOBS, Principal


@require_safe
@member_page(READ_JOBS)
def overview(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Show the fleet and the jobs in progress."""
    topic = Topic("overview", principal.tenant_id, may_write=principal.may(WRITE_JOBS))
    return live_page(request, principal, topic, socket="/ws/overview/")
