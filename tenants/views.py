"""Base of API views on what a tenant owns."""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core import origin
from core.parsing import StrictJson
from tenants import replays, scopes
from tenants.access import Principal
from tenants.models import ApiToken


class MeteredView(APIView):
    """Base of views that count a request before they look whether the caller may.

    The framework looks first: who asks without end for what they may not would cost nothing.
    """

    def check_permissions(self, request: Request) -> None:
        """Count, then look."""
        super().check_throttles(request)
        super().check_permissions(request)

    def check_throttles(self, request: Request) -> None:
        """Nothing: it has been counted."""


class TenantView(MeteredView):
    """Base of views on a tenant's things: their queries see only its rows (row-level security)."""

    parser_classes = [StrictJson]
    answers_once = True
    """Whether a POST is answered once for each ``Idempotency-Key``, by its JSON body."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """After authentication and permission, enter the tenant for the request's transaction."""
        super().initial(request, *args, **kwargs)
        scopes.enter(caller(request).tenant_id)
        origin.name(caller(request).name)
        handler = getattr(self, "post", None)
        if request.method == "POST" and handler is not None and self.answers_once:
            vars(self)["post"] = functools.partial(_post_once, handler)


def _post_once(handler: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
    return replays.answer_once(request, lambda: handler(request, *args, **kwargs))


def caller(request: Request) -> Principal:
    """Return who asks. Only for views behind ``HasScope``."""
    assert isinstance(request.user, Principal)
    return request.user


def soonest(request: Request, asked: datetime | None) -> datetime | None:
    """Return until when what a caller makes may last: as asked, but no longer than its token."""
    mine = request.auth.expires_at if isinstance(request.auth, ApiToken) else None
    return min((one for one in (asked, mine) if one is not None), default=None)
