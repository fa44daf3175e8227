"""Base of the console's pages whose rows no service of ours writes: each change is audited."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from core import reasons
from tenants import services


class Audited:
    """A line in the audit beside each line that Django writes to its own log of the console."""

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Note what was added."""
        _note(request, "add", obj, message)
        return super().log_addition(request, obj, message)  # type: ignore[misc]

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Note what was changed."""
        _note(request, "change", obj, message)
        return super().log_change(request, obj, message)  # type: ignore[misc]

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Note what was deleted."""
        for obj in queryset:
            _note(request, "delete", obj, [], **reasons.told(request.POST.get("reason", "")))
        return super().log_deletions(request, queryset)  # type: ignore[misc]


def _note(request: HttpRequest, verb: str, obj: Any, message: Any, **detail: str) -> None:
    services.audit(
        tenant_id=None,
        actor=request.user.get_username(),
        action=f"{obj._meta.model_name}.{verb}",
        target=str(obj),
        now=timezone.now(),
        changed=message,
        **detail,
    )
