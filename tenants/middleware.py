"""Operators see all tenants: requests to the console work as the system role."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from tenants.scopes import system_scope

CONSOLE = "/admin/"


class OperatorScope:
    """Opens the system scope around the console, for signed-in staff only."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, as the system role where the path and the person allow it."""
        user = getattr(request, "user", None)
        if request.path.startswith(CONSOLE) and user is not None and user.is_staff:
            with system_scope():
                return self.get_response(request)
        return self.get_response(request)
