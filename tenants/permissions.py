"""A view names the scope of each method; this checks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from core.errors import Forbidden
from tenants.access import Principal

if TYPE_CHECKING:
    # The framework's views import the default permissions, so these may not import its views.
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """``scope_of = {"GET": "jobs:read", …}`` on the view; a method without one is refused."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the principal may; raises Forbidden naming the scope it lacks."""
        if not isinstance(request.user, Principal):
            return False
        # HEAD runs what GET runs.
        method = "GET" if request.method == "HEAD" else request.method
        needed = getattr(view, "scope_of", {}).get(method)
        if needed is None:
            # What the view does not have is answered by 405, not by 403.
            return method == "OPTIONS" or not hasattr(view, str(method).lower())
        if not request.user.may(needed):
            raise Forbidden(f"this needs the scope {needed}; {request.user.name} has it not")
        return True
