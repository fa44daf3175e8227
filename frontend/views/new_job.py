"""A new job: its file, what would come of it, and its submission."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from clients import selectors as client_selectors
from core.errors import NotFound, PropiusError
from frontend import dry_run as told
from frontend.access import member_page
from frontend.selectors import new_job as selectors
from frontend.views.pages import page
from jobs import services as job_services
from propius.strategies import AnyStrategy, name_of
from scheduling import dry_run
from tenants.access import WRITE_JOBS, Principal

STRATEGIES = sorted(name_of(one) for one in AnyStrategy.__args__)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(WRITE_JOBS)
def new_job(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Show the form; try the file or submit it."""
    if request.method == "POST":
        return _asked(request, principal, request.POST.get("file", ""))
    found = selectors.uploads()
    raw = _source(request) or selectors.example(found)
    return _page(request, principal, selectors.written(raw), uploads=found)


def _asked(request: HttpRequest, principal: Principal, text: str) -> HttpResponse:
    """Do with the file what the pressed button says."""
    who: dict[str, Any] = {
        "tenant_id": principal.tenant_id,
        "submitted_by": principal.name,
        "now": timezone.now(),
    }
    try:
        raw = selectors.read(text)
        if request.POST.get("do") != "submit":
            found = dry_run.rehearse(raw=raw, **who)
            return _page(request, principal, text, found=found, facts=told.facts(found))
        job = job_services.submit(raw=raw, **who)
    except PropiusError as error:
        errors = error.errors or {"": error.detail}
        return _page(request, principal, text, errors=errors, status=422)
    messages.success(request, "Submitted. This page says what it waits for, and follows it.")
    return redirect("frontend:job", job_id=job.id)


def _source(request: HttpRequest) -> dict[str, Any] | None:
    """Return the file of the job to clone, if one was named."""
    asked = request.GET.get("clone")
    if not asked:
        return None
    try:
        return selectors.clone_of(UUID(asked))
    except (ValueError, NotFound):
        raise Http404 from None


def _page(
    request: HttpRequest, principal: Principal, text: str, *, status: int = 200, **shown: Any
) -> HttpResponse:
    shown.setdefault("uploads", selectors.uploads())
    shown |= {
        "text": text,
        "strategies": STRATEGIES,
        "pools": client_selectors.pools_for(principal.tenant_id),
        "lines": max(18, min(36, text.count("\n") + 2)),
    }
    return page(request, principal, "frontend/jobs/new.html", shown, status=status)
