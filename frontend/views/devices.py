"""Devices, pools and enrolment tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from clients import services as client_services
from core.errors import NotFound, PropiusError
from frontend import words
from frontend.access import member_page
from frontend.selectors import devices as device_selectors
from frontend.views.forms import tell
from frontend.views.pages import page, shown_once
from tenants.access import READ_DEVICES, WRITE_DEVICES, Principal


class PoolForm(forms.Form):
    """A private pool."""

    name = forms.SlugField(max_length=60, label="Name", help_text="Letters, digits, - and _")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Beside the form of tokens, which has a name too: a label names one field.
        super().__init__(*args, **{"auto_id": "id_pool_%s", **kwargs})


class TokenForm(forms.Form):
    """An enrolment token of one of the tenant's own pools."""

    pool = forms.ChoiceField(label="Pool")
    name = forms.CharField(max_length=100, label="Name", help_text="What it is for")
    max_uses = forms.IntegerField(
        min_value=1, max_value=1_000_000, initial=10, label="Devices", help_text="That may join"
    )
    days = forms.IntegerField(
        min_value=1, max_value=365, initial=7, label="Days", help_text="Until it expires"
    )

    def __init__(self, *args: Any, pools: list[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["pool"].choices = [(str(one.id), one.name) for one in pools]  # type: ignore[attr-defined]


@require_safe
@member_page(READ_DEVICES)
def devices(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Show pools, devices and tokens."""
    return _page(request, principal)


@require_POST
@member_page(WRITE_DEVICES)
def create_pool(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Create a private pool."""
    form = PoolForm(request.POST)
    if not form.is_valid():
        return _page(request, principal, pool_form=form, status=422)
    name = form.cleaned_data["name"]
    try:
        client_services.create_pool(
            name=name, tenant_id=principal.tenant_id, actor=principal.name, now=timezone.now()
        )
    except PropiusError as error:
        tell(form, error)
        return _page(request, principal, pool_form=form, status=422)
    messages.success(request, f"Created the pool {name}. Make an enrolment token to add devices.")
    return redirect("frontend:devices")


@require_POST
@member_page(WRITE_DEVICES)
def create_token(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Create an enrolment token and show its secret, in this answer only."""
    own = device_selectors.page(tenant_id=principal.tenant_id, now=timezone.now()).own_pools
    form = TokenForm(request.POST, pools=own)
    if not form.is_valid():
        return _page(request, principal, token_form=form, status=422)
    given, now = form.cleaned_data, timezone.now()
    pool = next(one for one in own if str(one.id) == given["pool"])
    try:
        token, secret = client_services.create_enrolment_token(
            pool=pool,
            name=given["name"],
            max_uses=given["max_uses"],
            expires_at=now + timedelta(days=given["days"]),
            created_by=principal.name,
            now=now,
        )
    except PropiusError as error:
        tell(form, error)
        return _page(request, principal, token_form=form, status=422)
    return shown_once(_page(request, principal, new_token=token, secret=secret))


@require_POST
@member_page(WRITE_DEVICES)
def revoke_token(request: HttpRequest, principal: Principal, token_id: UUID) -> HttpResponse:
    """Revoke an enrolment token of this tenant's."""
    try:
        client_services.revoke_enrolment_token(
            token_id=token_id, actor=principal.name, now=timezone.now()
        )
    except NotFound:
        raise Http404 from None
    messages.success(request, "Revoked. Devices that joined with it stay.")
    return redirect("frontend:devices")


def _page(
    request: HttpRequest, principal: Principal, *, status: int = 200, **shown: Any
) -> HttpResponse:
    found = device_selectors.page(
        tenant_id=principal.tenant_id,
        now=timezone.now(),
        search=words.searched(request.GET.get("name", "")),
        number=request.GET.get("page"),
    )
    shown.setdefault("pool_form", PoolForm())
    shown.setdefault("token_form", TokenForm(pools=found.own_pools))
    shown |= {"devices": found, "may_write": principal.may(WRITE_DEVICES)}
    template = "frontend/devices/page.html"
    return page(request, principal, template, {**shown, "fleet": found.fleet}, status=status)
