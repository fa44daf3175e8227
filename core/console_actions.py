"""Console: actions on marked rows. Each asks why, and tells of every row what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import pluralize
from unfold.forms import ActionForm

from core import reasons
from core.errors import Invalid, PropiusError

NAMED = 10


class WhyForm(ActionForm):  # type: ignore[misc]
    """An action, and why. Not required by the form itself: Django would say no action is chosen."""

    reason = forms.CharField(
        label="",
        required=False,
        max_length=reasons.LONGEST,
        widget=forms.TextInput(
            {
                "class": "why",
                "placeholder": "Reason",
                "aria-label": "Reason",
                "x-bind:required": "action !== '' && action !== 'delete_selected'",
            }
        ),
    )


def reason_given(request: HttpRequest) -> str:
    """Return the reason that was sent along. Raises Invalid."""
    reason = request.POST.get("reason", "").strip()
    Invalid.check(reasons.faults(reason))
    return reason


def do_to_each(
    request: HttpRequest,
    rows: QuerySet[Any],
    do: Callable[[Any, str], object],
    *,
    done: str,
) -> None:
    """Do it to each row with the reason given, and say which are ``done`` and which are not."""
    try:
        reason = reason_given(request)
    except Invalid as error:
        messages.error(request, f"Nothing was changed: {error.detail}.")
        return
    did: list[Model] = []
    refused: list[str] = []
    for row in rows.order_by("pk"):
        try:
            with transaction.atomic():
                do(row, reason)
        except PropiusError as error:
            refused.append(f"{row}: {error.detail}")
        else:
            did.append(row)
    if did:
        what = rows.model._meta.verbose_name
        messages.success(
            request, f"{len(did)} {what}{pluralize(did)} {done}: {_listed(map(str, did))}."
        )
    for text in refused[:NAMED]:
        messages.warning(request, f"Not {done}: {text}.")
    if len(refused) > NAMED:
        messages.warning(request, f"{len(refused) - NAMED} more are not {done}.")


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more
