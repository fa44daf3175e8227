"""Bases of the operators' console.

Operators see all tenants: their requests work as the system role (:mod:`tenants.middleware`).
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import timezone


class OperatorAdmin:
    """Stamps ``created_at`` of rows made by hand."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save, with the time of creation if it is new."""
        if not change and getattr(obj, "created_at", 0) is None:
            obj.created_at = timezone.now()
        super().save_model(request, obj, form, change)  # type: ignore[misc]


class ReadOnlyAdmin:
    """Rows that only services write."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False
