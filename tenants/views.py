"""Base of API views on what a tenant owns."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.views import APIView

from core import origin
from core.parsing import StrictJson
from tenants import scopes
from tenants.access import Principal


class TenantView(APIView):
    """Base of views on a tenant's things: their queries see only its rows (row-level security)."""

    parser_classes = [StrictJson]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """After authentication and permission, enter the tenant for the request's transaction."""
        super().initial(request, *args, **kwargs)
        scopes.enter(caller(request).tenant_id)
        origin.name(caller(request).name)


def caller(request: Request) -> Principal:
    """Return who asks. Only for views behind ``HasScope``."""
    assert isinstance(request.user, Principal)
    return request.user
