"""The list of jobs, a job, and what can be done to it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from aggregation import retention
from core.errors import Conflict, NotFound
from frontend.access import member_page
from frontend.asked import LONGEST, Asked
from frontend.fragments import Topic
from frontend.selectors import job as job_selectors
from frontend.views.pages import live_page
from jobs import services as job_services
from jobs.models import Job
from tenants.access import READ_JOBS, WRITE_JOBS, WRITE_MODELS, Principal


@require_safe
@member_page(READ_JOBS)
def job_list(request: HttpRequest, principal: Principal) -> HttpResponse:
    """List jobs by state and name."""
    topic = Topic(
        "jobs",
        principal.tenant_id,
        may_write=principal.may(WRITE_JOBS),
        query=request.META.get("QUERY_STRING", "")[:LONGEST],
    )
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
        # In one spelling, so that all who ask for the same are shown one rendering.
        query=Asked.read(request.META.get("QUERY_STRING", "")).query,
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


@require_POST
@member_page(WRITE_MODELS)
def pin(request: HttpRequest, principal: Principal, job_id: UUID, number: int) -> HttpResponse:
    """Pin a model version, or let retention have it."""
    pinned = request.POST.get("pinned") != "no"
    try:
        job_selectors.find(job_id)
        retention.pin(
            job_id=job_id,
            number=number,
            pinned=pinned,
            actor=principal.name,
            now=timezone.now(),
        )
    except retention.VersionUnknown:
        messages.error(request, f"Nothing was changed: version {number} is not kept any more.")
    except NotFound:
        raise Http404 from None
    else:
        kept = "stays until it is unpinned" if pinned else "stays as long as retention keeps it"
        messages.success(request, f"Version {number} is {'' if pinned else 'un'}pinned: it {kept}.")
    return _back(request, job_id)


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
    return _back(request, job_id)


def _back(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Go back to the job's page as it was looked at."""
    asked = Asked.read(request.META.get("QUERY_STRING", ""))
    return redirect(
        f"{reverse('frontend:job', args=[job_id])}{asked.link() if asked.query else ''}"
    )
