"""Webhooks: where a tenant's events go, and whether they arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from core.errors import NotFound, PropiusError
from frontend.access import member_page
from frontend.selectors import settings as settings_selectors
from frontend.views.forms import tell
from frontend.views.pages import page, shown_once
from tenants import services
from tenants.access import READ_TENANT, WRITE_TENANT, Principal
from tenants.webhooks.kinds import KINDS


class WebhookForm(forms.Form):
    """A new webhook."""

    url = forms.CharField(max_length=500, label="Address", help_text="https://…")
    kinds = forms.MultipleChoiceField(
        choices=[(one, one) for one in KINDS],
        widget=forms.CheckboxSelectMultiple,
        initial=["job.completed", "job.failed", "job.cancelled", "job.rejected"],
        label="Events",
    )


@require_safe
@member_page(READ_TENANT)
def webhooks(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Show webhooks and the log of what was sent."""
    return _page(request, principal)


@require_POST
@member_page(WRITE_TENANT)
def create(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Create a webhook and show its secret, in this answer only."""
    form = WebhookForm(request.POST)
    if not form.is_valid():
        return _page(request, principal, form=form, status=422)
    try:
        webhook, secret = services.create_webhook(
            tenant_id=principal.tenant_id,
            **form.cleaned_data,
            actor=principal.name,
            now=timezone.now(),
        )
    except PropiusError as error:
        tell(form, error)
        return _page(request, principal, form=form, status=422)
    return shown_once(_page(request, principal, made=webhook, secret=secret))


@require_POST
@member_page(WRITE_TENANT)
def delete(request: HttpRequest, principal: Principal, webhook_id: UUID) -> HttpResponse:
    """Send nothing there any more."""
    told = "Deleted: nothing is sent there any more."
    return _act(request, principal, webhook_id, services.delete_webhook, told)


@require_POST
@member_page(WRITE_TENANT)
def test(request: HttpRequest, principal: Principal, webhook_id: UUID) -> HttpResponse:
    """Queue a delivery that tells nothing."""
    told = "A test is on its way; the log below tells what came back."
    return _act(request, principal, webhook_id, services.try_webhook, told)


def _act(
    request: HttpRequest,
    principal: Principal,
    webhook_id: UUID,
    service: Callable[..., object],
    told: str,
) -> HttpResponse:
    """Do it to a webhook of this tenant, and say what came of it."""
    try:
        service(webhook_id=webhook_id, actor=principal.name, now=timezone.now())
    except NotFound:
        raise Http404 from None
    messages.success(request, told)
    return redirect("frontend:settings-webhooks")


def _page(
    request: HttpRequest, principal: Principal, *, status: int = 200, **shown: Any
) -> HttpResponse:
    shown.setdefault("form", WebhookForm())
    shown |= {
        "webhooks": settings_selectors.webhooks(),
        "deliveries": settings_selectors.deliveries(),
        "may_write": principal.may(WRITE_TENANT),
    }
    return page(request, principal, "frontend/settings/webhooks.html", shown, status=status)
