"""The list of jobs, a job, and what can be done to it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from core.errors import Conflict, NotFound
from frontend.access import member_page
from frontend.fragments import Topic
from frontend.selectors import job as job_selectors
from frontend.views.pages import live_page
from jobs import services as job_services
from jobs.models import Job
from tenants.access import READ_JOBS, WRITE_JOBS, Principal


@require_safe
@member_page(READ_JOBS)
def job_list(request: HttpRequest, principal: Principal) -> HttpResponse:
    """List jobs by state and name."""
    topic = Topic("jobs", principal.tenant_id, query=request.META.get("QUERY_STRING", "")[:300])
    return live_page(request, principal, topic, socket="/ws/jobs/")


@require_safe
@member_page(READ_JOBS)
def job(request: HttpRequest, principal: Principal, job_id: UUID) -> HttpResponse:
    """Show one job."""
    topic = Topic(
        "job",
        principal.tenant_id,
        job_id=job_id,
        may_write=principal.may(WRITE_JOBS),
        query=request.META.get("QUERY_STRING", "")[:300],
    )
    try:
        return live_page(request, principal, topic, socket=f"/ws/jobs/{job_id}/")
    except NotFound:
        raise Http404 from None


@require_POST
@member_page(WRITE_JOBS)
def pause(request: HttpRequest, principal: Principal, job_id: UUID) -> HttpResponse:
    """Pause a job."""
    told = "Paused. No new devices are taken; those at work may still report."
    return _act(request, principal, job_id, job_services.pause, told)


@require_POST
@member_page(WRITE_JOBS)
def resume(request: HttpRequest, principal: Principal, job_id: UUID) -> HttpResponse:
    """Resume a paused job."""
    return _act(request, principal, job_id, job_services.resume, "Resumed.")


@require_POST
@member_page(WRITE_JOBS)
def cancel(request: HttpRequest, principal: Principal, job_id: UUID) -> HttpResponse:
    """Cancel a job for good."""
    told = "Cancelled. Its devices are free again; its model versions stay."
    return _act(request, principal, job_id, job_services.cancel, told)


def _act(
    request: HttpRequest,
    principal: Principal,
    job_id: UUID,
    service: Callable[..., Job],
    told: str,
) -> HttpResponse:
    """Do it to a job of this tenant, and say what came of it."""
    try:
        job_selectors.find(job_id)
        changed = service(job_id=job_id, actor=principal.name, now=timezone.now())
    except NotFound:
        raise Http404 from None
    except Conflict as error:
        messages.error(request, f"Nothing was changed: {error.detail}.")
    else:
        if changed.status == Job.Status.FINISHED and changed.outcome != Job.Outcome.CANCELLED:
            messages.error(request, f"Nothing was changed: the job had {changed.outcome} before.")
        else:
            messages.success(request, told)
    return redirect("frontend:job", job_id=job_id)
