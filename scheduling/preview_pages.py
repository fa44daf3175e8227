"""Preview in the operators' console: propose, watch it being replayed, compare, apply."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from core.errors import Invalid
from core.fields import ReasonField, StrictJsonField
from scheduling import comparing, planning, policies, previews, selectors, services
from scheduling.models import TenantShare
from scheduling.sharing import Terms
from tenants.models import Tenant

PATIENCE_S = 30


class ProposalForm(forms.Form):
    """What to preview: a policy, one tenant's share, or both; and how far back."""

    policy = forms.ChoiceField(
        choices=[("", "As it is"), *((name, name) for name in policies.REGISTRY)],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    parameters = StrictJsonField(
        required=False,
        initial=dict,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text='For example {"max_wait_s": 300}; empty for the defaults',
    )
    tenant = forms.ModelChoiceField(
        Tenant.objects.order_by("slug"),
        required=False,
        to_field_name="slug",
        empty_label="No share changes",
        widget=UnfoldAdminSelectWidget,
        label="Share of",
    )
    weight = forms.FloatField(required=False, widget=UnfoldAdminDecimalFieldWidget)
    guarantee = forms.IntegerField(
        required=False, widget=UnfoldAdminIntegerFieldWidget, help_text="Devices at once"
    )
    ceiling = forms.IntegerField(
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Devices at once; empty for no bound",
    )
    lending_limit = forms.IntegerField(
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How much of the guarantee others may have meanwhile; empty for all of it",
    )
    hours = forms.FloatField(
        initial=6,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text=f"Back from now, up to {previews.MOST_HOURS:g}",
    )

    def proposal(self) -> previews.Proposal:
        """Return what is proposed."""
        given = self.cleaned_data
        shares = {}
        if given["tenant"] is not None:
            shares[given["tenant"].slug] = Terms(
                weight=1.0 if given["weight"] is None else given["weight"],
                guarantee=given["guarantee"] or 0,
                ceiling=given["ceiling"],
                lending_limit=given["lending_limit"],
            )
        return previews.Proposal(
            hours=given["hours"],
            policy=given["policy"] or None,
            parameters=given["parameters"] or {},
            shares=shares,
        )

    def clean(self) -> dict[str, Any]:
        """Show each fault of the proposal beside its field."""
        cleaned = super().clean() or {}
        if isinstance(cleaned.get("parameters"), (list, str, int, float)):
            self.add_error("parameters", "a JSON object is allowed")
        if self.errors:
            return cleaned
        if not cleaned["policy"] and cleaned["tenant"] is None:
            self.add_error("policy", "Choose a policy, or a tenant whose share changes.")
            return cleaned
        try:
            previews.check(self.proposal())
        except previews.PreviewInvalid as error:
            for name, fault in error.errors.items():
                field = name.rpartition(".")[2]
                self.add_error(field if field in self.fields else "parameters", fault)
        return cleaned


class ReasonForm(forms.Form):
    """Why it is put in force."""

    reason = ReasonField()


class PreviewPages:
    """The pages, below the list of policies."""

    @action(description="Preview a change", permissions=["add"], url_path="preview-first")
    def preview_first(self, request: HttpRequest) -> HttpResponse:
        """Lead to the form."""
        return redirect("admin:scheduling_preview")

    def get_urls(self) -> list[Any]:
        """Add the pages' addresses."""
        view = self.admin_site.admin_view  # type: ignore[attr-defined]
        own = [
            path("preview/", view(self.propose), name="scheduling_preview"),
            path("preview/<uuid:preview_id>/", view(self.compare), name="scheduling_compare"),
        ]
        return [*own, *super().get_urls()]  # type: ignore[misc]

    def propose(self, request: HttpRequest) -> HttpResponse:
        """Show the form, or have a worker preview what it says."""
        self._require_add(request)
        form = ProposalForm(request.POST or None, initial=_initial(request))
        if request.method == "POST" and form.is_valid():
            asked = previews.ask(form.proposal(), now=timezone.now())
            return redirect("admin:scheduling_compare", asked)
        active = selectors.active_policy()
        return self._page(
            request, "form", {"form": form, "active": active, "title": "Preview a change"}
        )

    def compare(self, request: HttpRequest, preview_id: UUID) -> HttpResponse:
        """Show how far it is, then both sides; put the proposal in force."""
        self._require_add(request)
        try:
            proposal, asked_at = previews.asked_for(preview_id)
            found = previews.answer(preview_id)
        except previews.PreviewUnknown as error:
            raise Http404(error.detail) from error
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            return self._apply(request, proposal, form.cleaned_data["reason"], preview_id)
        context = {
            "form": form,
            "proposal": proposal,
            "subject": _subject(proposal),
            "asked": found,
            "again": f"{reverse('admin:scheduling_preview')}?of={preview_id}",
            "title": "Preview",
            **(_compared(proposal, found) if found.preview else _progress(found, asked_at)),
        }
        return self._page(request, "compare", context)

    def _apply(
        self, request: HttpRequest, proposal: previews.Proposal, reason: str, preview_id: UUID
    ) -> HttpResponse:
        allowed = not proposal.shares or request.user.has_perm("scheduling.change_tenantshare")
        if not allowed:
            raise PermissionDenied
        try:
            services.apply_proposal(
                proposal, author=request.user.get_username(), reason=reason, now=timezone.now()
            )
        except Invalid as error:
            messages.error(request, f"Nothing was changed: {error.detail}.")
            return redirect("admin:scheduling_compare", preview_id)
        messages.success(request, f"{_subject(proposal)} is in force.")
        return redirect("admin:scheduling_sharingpolicy_changelist")

    def _require_add(self, request: HttpRequest) -> None:
        if not self.has_add_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        site = self.admin_site.each_context(request)  # type: ignore[attr-defined]
        own = {"opts": self.opts, "has_permission": True}  # type: ignore[attr-defined]
        template = f"scheduling/preview_{name}.html"
        return TemplateResponse(request, template, {**site, **own, **context})


def _initial(request: HttpRequest) -> dict[str, Any]:
    """Return what to show in the form: an earlier proposal, or one tenant's share as it is."""
    try:
        proposal, _ = previews.asked_for(UUID(request.GET["of"]))
    except (KeyError, ValueError, previews.PreviewUnknown):
        slug = request.GET.get("tenant", "")
        share = TenantShare.objects.filter(tenant__slug=slug).first() or TenantShare()
        names = ("weight", "guarantee", "ceiling", "lending_limit")
        return {"tenant": slug, "hours": 6} | {name: getattr(share, name) for name in names}
    found: dict[str, Any] = {
        "policy": proposal.policy or "",
        "parameters": dict(proposal.parameters),
        "hours": proposal.hours,
    }
    for slug, terms in proposal.shares.items():
        found |= {"tenant": slug, "weight": terms.weight, "guarantee": terms.guarantee}
        found |= {"ceiling": terms.ceiling, "lending_limit": terms.lending_limit}
    return found


def _subject(proposal: previews.Proposal) -> str:
    policy = f"the {proposal.policy} policy" if proposal.policy else ""
    shares = " and ".join(f"the share of {slug}" for slug in proposal.shares)
    text = " with ".join(filter(None, (policy, shares)))
    return f"{text[:1].upper()}{text[1:]}"


def _progress(found: previews.Asked, asked_at: Any) -> dict[str, Any]:
    waited_s = (timezone.now() - asked_at).total_seconds()
    words = {
        "asked": "Waiting for a worker",
        "present": "Replaying what is in force",
        "proposed": "Replaying the proposal",
    }
    return {
        "done": previews.PHASES.index(found.phase),
        "all": len(previews.PHASES),
        "words": words[found.phase],
        "is_stuck": found.phase == "asked" and waited_s > PATIENCE_S,
    }


def _compared(proposal: previews.Proposal, found: previews.Asked) -> dict[str, Any]:
    assert found.preview is not None
    shown = found.preview
    active = selectors.active_policy()
    both = [(active.name, active.parameters), (proposal.policy or active.name, proposal.parameters)]
    made = [planning.policy_or_default(*one) for one in both]
    sides = shown.present, shown.proposed
    return {
        "preview": shown,
        "sentences": comparing.sentences(*sides, subject=_subject(proposal)),
        "rows": comparing.rows(*sides),
        "charts": comparing.charts(*sides),
        "caveats": comparing.caveats(
            jobs=shown.present.jobs,
            minutes=shown.minutes,
            tiers=any(getattr(one, "tiers", 1) > 1 for one in made),
        ),
    }
