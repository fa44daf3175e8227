"""Bases of the operators' console.

Operators see all tenants: their requests work as the system role (:mod:`tenants.middleware`).
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import get_permission_codename
from django.http import HttpRequest
from django.shortcuts import redirect

from core.errors import PropiusError


class OperatorAdmin:
    """Rows that services write: what one of them refuses is told, and nothing is changed."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show or save; a refusal comes back as a message."""
        try:
            return super().changeform_view(request, *args, **kwargs)  # type: ignore[misc]
        except PropiusError as error:
            messages.error(request, error.detail)
            return redirect(request.get_full_path())


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
