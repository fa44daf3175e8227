"""Form fields whose values can be stored and shown again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from unfold.widgets import UnfoldAdminTextInputWidget

from core import parsing, reasons
from core.errors import Invalid


class StrictJsonField(forms.JSONField):
    """JSON as requests may hold it: no NUL, half a surrogate pair, NaN or deep nesting."""

    def to_python(self, value: Any) -> Any:
        """Return the value; what cannot be stored is a fault of the field."""
        try:
            found = super().to_python(value)
            parsing.check(found)
        except RecursionError:
            raise ValidationError(parsing.TOO_DEEP, code="invalid") from None
        except Invalid as error:
            raise ValidationError(str(error), code="invalid") from None
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show what was typed as it was typed: read and written anew it may be no text."""
        return None if data is None else InvalidJSONInput(data)


class ReasonField(forms.CharField):
    """Why something changes, for those who read its history."""

    def __init__(self, **options: Any) -> None:
        options = {"max_length": reasons.LONGEST, "widget": UnfoldAdminTextInputWidget} | options
        super().__init__(**options)
