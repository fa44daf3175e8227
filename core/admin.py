"""Bases of the operators' console.

Operators see all tenants: their requests work as the system role (:mod:`tenants.middleware`).
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from core.errors import Invalid, PropiusError


class OperatorAdmin:
    """Rows that services write: what one of them refuses stands beside what was typed."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show or save; after a refusal, show the form again as it was sent."""
        try:
            with transaction.atomic():
                return super().changeform_view(request, *args, **kwargs)  # type: ignore[misc]
        except PropiusError as error:
            request.refusal = error  # type: ignore[attr-defined]
            return super().changeform_view(request, *args, **kwargs)  # type: ignore[misc]

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the form's class; once a service has refused, one that finds its faults too."""
        form: Any = super().get_form(request, *args, **kwargs)  # type: ignore[misc]
        refusal = getattr(request, "refusal", None)
        return form if refusal is None else _refused(form, refusal)

    def delete_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> Any:
        """Ask, or delete; a refusal comes back as a message above the question."""
        try:
            with transaction.atomic():
                return super().delete_view(request, object_id, *args, **kwargs)  # type: ignore[misc]
        except PropiusError as error:
            messages.error(request, f"Nothing was deleted: {error.detail}.")
            return redirect(request.get_full_path())

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show the list, or act on marked rows; they are deleted together or not at all."""
        try:
            with transaction.atomic():
                return super().changelist_view(request, *args, **kwargs)  # type: ignore[misc]
        except PropiusError as error:
            messages.error(request, f"Nothing was deleted: {error.detail}.")
            return redirect(request.get_full_path())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete each as by its own page."""
        for row in queryset.order_by("pk"):
            self.delete_model(request, row)  # type: ignore[attr-defined]


def _refused(form: Any, refusal: PropiusError) -> Any:
    class Refused(form):
        """A form with the faults that a service has found."""

        def full_clean(self) -> None:
            super().full_clean()
            if not refusal.errors:
                self.add_error(None, refusal.detail)
            for name, fault in refusal.errors.items():
                if name in self.fields:
                    self.add_error(name, fault)
                else:
                    self.add_error(None, f"{name}: {fault}")

    return Refused


class ReadOnlyAdmin:
    """Rows that only services write: actions with ``permissions=["operate"]`` call them."""

    when_empty = "Nothing yet: rows appear here as the platform writes them."

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Tell whether the person may change such rows; to look at them is not enough."""
        options = self.opts  # type: ignore[attr-defined]
        change = get_permission_codename("change", options)
        return request.user.has_perm(f"{options.app_label}.{change}")

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


class ReadTogether:
    """A list whose rows are given, at once, what is read for all of them."""

    def read_together(self, rows: list[Any]) -> None:
        """Set what the list shows on its rows."""
        raise NotImplementedError

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        """Read once the page's rows are known."""
        base: Any = super().get_changelist(request, **kwargs)  # type: ignore[misc]
        give = self.read_together

        class Together(base):
            result_list: Any

            def get_results(self, request: HttpRequest) -> None:
                super().get_results(request)
                self.result_list = list(self.result_list)
                give(self.result_list)

        return Together


class KeptAsHistory:
    """Rows that are added and then stay as they are."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: history stays as it was."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: history stays as it was."""
        return False


class Revertible:
    """A history whose rows can be chosen again with one click, or moved on where they can be."""

    revert_permission = ""
    verbs: tuple[str, ...] = ("revert",)

    def buttons(self, row: Any) -> dict[str, str]:
        """Return the words on a row's buttons, by verb."""
        return {"revert": "Choose again"}

    def do(self, verb: str, *, row_id: int, author: str) -> str:
        """Do what a button says; returns what to tell."""
        return self.revert(row_id=row_id, author=author)

    def revert(self, *, row_id: int, author: str) -> str:
        """Choose a row again; returns what to tell."""
        raise NotImplementedError

    @admin.display(description="Change")
    def back(self, row: Any) -> SafeString:
        """Show the buttons; the list is a form already, with its token."""
        start = f"admin:{row._meta.app_label}_{row._meta.model_name}_"
        return format_html_join(
            " ",
            '<button type="submit" formaction="{}" class="{}">{}</button>',
            (
                (reverse(start + verb, args=[row.pk]), "underline whitespace-nowrap mr-2", words)
                for verb, words in self.buttons(row).items()
            ),
        )

    def get_urls(self) -> list[Any]:
        """Add the buttons' addresses."""
        options = self.opts  # type: ignore[attr-defined]
        view = self.admin_site.admin_view(require_POST(self.button_view))  # type: ignore[attr-defined]
        start = f"{options.app_label}_{options.model_name}_"
        own = [
            path(f"<int:row_id>/{verb}/", view, {"verb": verb}, name=start + verb)
            for verb in self.verbs
        ]
        return [*own, *super().get_urls()]  # type: ignore[misc]

    def button_view(self, request: HttpRequest, row_id: int, verb: str) -> HttpResponse:
        """Do what the button says, if the person may, and show the history."""
        if not request.user.has_perm(self.revert_permission):
            raise PermissionDenied
        if self.get_object(request, str(row_id)) is None:  # type: ignore[attr-defined]
            raise Http404
        try:
            told = self.do(verb, row_id=row_id, author=request.user.get_username())
        except Invalid as error:
            messages.error(request, f"Nothing was changed: {error.detail}.")
        else:
            messages.success(request, told)
        options = self.opts  # type: ignore[attr-defined]
        return redirect(f"admin:{options.app_label}_{options.model_name}_changelist")


class NewestInForce(ReadTogether):
    """A history whose newest row is in force: the list says so, and offers the others again."""

    def read_together(self, rows: list[Any]) -> None:
        """Find the newest, which may be on another page."""
        newest = self.model.objects.order_by("-id").values_list("id", flat=True).first()  # type: ignore[attr-defined]
        for row in rows:
            row.is_in_force = row.pk == newest

    @admin.display(description="State")
    def state(self, row: Any) -> str:
        """Say whether it is in force."""
        return "in force" if row.is_in_force else "earlier"

    def buttons(self, row: Any) -> dict[str, str]:
        """Offer what is not in force."""
        return {} if row.is_in_force else super().buttons(row)  # type: ignore[misc]
