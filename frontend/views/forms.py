"""What services refuse, shown where the form has its fields."""

from django import forms

from core.errors import PropiusError


def tell(form: forms.Form, error: PropiusError) -> None:
    """Put a service's faults beside their fields; what has no field goes on top."""
    for field, text in (error.errors or {"": error.detail}).items():
        form.add_error(field if field in form.fields else None, text)
