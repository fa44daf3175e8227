"""One device: what it is like, what it did for the tenant, and the end of it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from aggregation import device_tasks
from clients import services
from clients.models import Device
from core.errors import NotFound
from frontend.access import member_page
from frontend.selectors import device as selectors
from frontend.views.pages import page
from tenants.access import READ_DEVICES, WRITE_DEVICES, Principal


@require_safe
@member_page(READ_DEVICES)
def device(request: HttpRequest, principal: Principal, device_id: UUID) -> HttpResponse:
    """Show a device of the tenant's own."""
    return _page(request, principal, _own(principal, device_id))


@require_safe
@member_page(READ_DEVICES)
def device_of(request: HttpRequest, principal: Principal, assignment_id: UUID) -> HttpResponse:
    """Show the device that a task of the tenant went to: of shared pools by pseudonym only."""
    try:
        found = device_tasks.behind(tenant_id=principal.tenant_id, assignment_id=assignment_id)
    except NotFound:
        raise Http404 from None
    if found.tenant_id == principal.tenant_id:
        return redirect("frontend:device", device_id=found.id)
    return _page(request, principal, found)


@require_POST
@member_page(WRITE_DEVICES)
def revoke(request: HttpRequest, principal: Principal, device_id: UUID) -> HttpResponse:
    """Shut a device of the tenant's own out."""
    found = _own(principal, device_id)
    services.revoke_device(device_id=found.id, actor=principal.name, now=timezone.now())
    messages.success(request, f"{found.name} is shut out. What it reported stays.")
    return redirect("frontend:device", device_id=found.id)


def _own(principal: Principal, device_id: UUID) -> Device:
    try:
        return selectors.own(tenant_id=principal.tenant_id, device_id=device_id)
    except NotFound:
        raise Http404 from None


def _page(request: HttpRequest, principal: Principal, found: Device) -> HttpResponse:
    shown = selectors.page(
        tenant_id=principal.tenant_id,
        device=found,
        number=request.GET.get("page"),
        now=timezone.now(),
    )
    may_revoke = (
        shown.device is not None
        and shown.device.status == Device.Status.ACTIVE
        and principal.may(WRITE_DEVICES)
    )
    template = "frontend/devices/device.html"
    return page(request, principal, template, {"found": shown, "may_revoke": may_revoke})
