"""What devices may tell and must run, in the operators' console."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from clients import selectors, services
from clients.models import AttributeChange, AttributeDefinition, Pool, SdkRequirement
from core.admin import KeptAsHistory, OperatorAdmin, ReadOnlyAdmin, ReadTogether, Revertible
from core.fields import ReasonField


class AttributeForm(forms.ModelForm):  # type: ignore[type-arg]
    """A line of the schema, and why it changes."""

    remove = forms.BooleanField(
        required=False,
        label="Take it out of the schema",
        widget=UnfoldBooleanSwitchWidget,
        help_text="Devices that still tell it are then refused by name",
    )
    reason = ReasonField()

    class Meta:
        model = AttributeDefinition
        fields = ("name", "type", "unit", "description")


@admin.register(AttributeDefinition)
class AttributeDefinitionAdmin(OperatorAdmin, ModelAdmin):
    """What devices may tell and constraints may name."""

    form = AttributeForm
    list_display = ["name", "type", "unit", "description"]
    search_fields = ["name", "description"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Only what is there can be taken out."""
        fields = ["name", "type", "unit", "description"]
        return [*fields, "remove", "reason"] if obj else [*fields, "reason"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """A name stays: devices and job files say it."""
        return ["name"] if obj else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Define it, or take it out, through the service."""
        reason, author = form.cleaned_data["reason"], request.user.get_username()
        if form.cleaned_data.get("remove"):
            services.remove_attribute(
                name=obj.pk, reason=reason, author=author, now=timezone.now()
            )  # fmt: skip
            return
        services.define_attribute(
            name=obj.pk,
            kind=obj.type,
            unit=obj.unit,
            description=obj.description,
            reason=reason,
            author=author,
            now=timezone.now(),
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: the form takes it out, with a reason."""
        return False


@admin.register(AttributeChange)
class AttributeChangeAdmin(Revertible, ReadOnlyAdmin, ModelAdmin):
    """Every line of the schema as it was set or taken out, by whom and why."""

    list_display = [
        "name", "type", "unit", "description", "removed", "reason", "author", "created_at", "back",
    ]  # fmt: skip
    search_fields = ["name"]
    ordering = ["-id"]
    revert_permission = "clients.change_attributedefinition"

    def revert(self, *, row_id: int, author: str) -> str:
        """Have a line as it was. Raises AttributeInvalid."""
        old = services.revert_attribute(change_id=row_id, author=author, now=timezone.now())
        return f"{old.name} is {'out of the schema' if old.removed else 'as it was'} again."


class SdkRequirementForm(forms.ModelForm):  # type: ignore[type-arg]
    """Which version, of how many devices first, and how long they have."""

    pool = forms.ModelChoiceField(
        Pool.objects.order_by("name"),
        required=False,
        empty_label="All pools",
        widget=UnfoldAdminSelectWidget,
    )
    minimum = forms.CharField(
        max_length=40,
        widget=UnfoldAdminTextInputWidget,
        help_text="The oldest version that is new enough, like 0.2",
    )
    percent = forms.FloatField(
        min_value=0,
        max_value=100,
        initial=1,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="Of the devices, chosen by chance once and for all; raise it by click later",
    )
    grace_days = forms.FloatField(
        label="Days until then",
        min_value=0,
        max_value=365,
        initial=7,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="Devices are told at once, and get no work any more after this time",
    )
    reason = ReasonField()

    class Meta:
        model = SdkRequirement
        fields = ("pool", "software", "minimum", "grace_days", "reason")


@admin.register(SdkRequirement)
class SdkRequirementAdmin(ReadTogether, KeptAsHistory, Revertible, OperatorAdmin, ModelAdmin):
    """The newest row of each pool and software is in force. A change is a new row."""

    form = SdkRequirementForm
    fields = ["pool", "software", "minimum", "percent", "grace_days", "reason"]
    list_display = [
        "asked", "where", "state", "meet", "below", "chosen", "back", "reason", "author",
        "created_at",
    ]  # fmt: skip
    list_filter = ["software", "pool"]
    list_select_related = ["pool"]
    ordering = ["-id"]
    revert_permission = "clients.add_sdkrequirement"
    verbs = ("revert", "raise", "pause", "roll-back")

    def read_together(self, rows: list[Any]) -> None:
        """Find what is in force, and count its devices."""
        newest = {row.pk for row in selectors.requirements_in_force()}
        now = [row for row in rows if row.pk in newest]
        found = selectors.reach(now, now=timezone.now()) if now else {}
        for row in rows:
            row.is_in_force, row.reach = row.pk in newest, found.get(row.pk)

    @admin.display(description="Required")
    def asked(self, row: SdkRequirement) -> str:
        """Name the software and its oldest version."""
        return f"{row.software} ≥ {row.minimum}"

    @admin.display(description="Pool")
    def where(self, row: SdkRequirement) -> str:
        """Name the pool."""
        return row.pool.name if row.pool is not None else "all"

    @admin.display(description="State")
    def state(self, row: Any) -> str:
        """Say whether it is in force, for how many, and by when."""
        if not row.is_in_force:
            return f"earlier: {row.percent:g} %"
        if not row.steps:
            return "asked of nobody"
        due = datetime.fromisoformat(row.steps[-1][1])
        text = f"{row.percent:g} % by {due:%Y-%m-%d %H:%M} UTC"
        return f"paused at {text}" if row.paused else text

    @admin.display(description="New enough")
    def meet(self, row: Any) -> str:
        """Count the devices of the last 7 days that run what is required."""
        return "" if row.reach is None else str(row.reach.meet)

    @admin.display(description="Out at 100 %")
    def below(self, row: Any) -> str:
        """Count those that are too old: at 100 % all of them are shut out."""
        return "" if row.reach is None else str(row.reach.below)

    @admin.display(description="Asked now")
    def chosen(self, row: Any) -> str:
        """Count those of them to whom it has come."""
        return "" if row.reach is None else str(row.reach.chosen)

    def buttons(self, row: Any) -> dict[str, str]:
        """Move on what is in force; choose again what was."""
        if not row.is_in_force:
            return super().buttons(row)
        found = {}
        following = services.next_step(row)
        if following is not None:
            found["raise"] = f"Raise to {following} %"
        found["pause"] = "Go on" if row.paused else "Pause"
        if row.steps:
            found["roll-back"] = "Roll back"
        return found

    def do(self, verb: str, *, row_id: int, author: str) -> str:
        """Do what a button says. Raises RequirementInvalid."""
        move = {
            "revert": services.revert_requirement,
            "raise": services.raise_requirement,
            "pause": services.pause_requirement,
            "roll-back": services.roll_back_requirement,
        }[verb]
        row = move(requirement_id=row_id, author=author, now=timezone.now())
        text = f"{row.software} {row.minimum} is asked of {row.percent:g} % of the devices"
        return f"{text}, and paused." if row.paused else f"{text}."

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Ask through the service."""
        made = services.require_sdk(
            pool_id=obj.pool_id,
            name=obj.software,
            minimum=obj.minimum,
            percent=form.cleaned_data["percent"],
            grace_days=obj.grace_days,
            reason=obj.reason,
            author=request.user.get_username(),
            now=timezone.now(),
        )
        obj.pk, obj.created_at = made.pk, made.created_at
