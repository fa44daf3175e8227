"""Bases of the operators' console.

Operators see all tenants: their requests work as the system role (:mod:`tenants.middleware`).
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_permission_codename
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
    """Rows that only services write: actions with ``permissions=["operate"]`` call them."""

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
