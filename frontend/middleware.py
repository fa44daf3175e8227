"""What every page gets: compression, a strict policy on what it may load; a page for rates."""

from __future__ import annotations

import math
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render

from core.rates import RateExceeded

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# The admin's theme evaluates expressions in attributes; the API's page starts by inline script.
_EXEMPT = ("/admin/", "/api/v1/docs/")


class ContentSecurityPolicy:
    """Send the policy with every answer, errors too, except under the exempt paths."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.path.startswith(_EXEMPT):
            response.headers.setdefault("Content-Security-Policy", POLICY)
        return response


class CompressedPages(GZipMiddleware):
    """Compress pages, and nothing else: event streams and model files go out as they are.

    What a page says twice is not told by its size: tokens against forgery are masked anew for
    each answer, and Django pads what it compresses by a random length.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if response.get("Content-Type", "").startswith("text/html"):
            return super().process_response(request, response)
        return response


class TooManyPage:
    """Show a page (429, with Retry-After) where a rate was exceeded outside of the API."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        """Answer for a rate; anything else is not ours."""
        if not isinstance(exc, RateExceeded):
            return None
        seconds = max(1, math.ceil(exc.wait))
        answer = render(request, "429.html", {"seconds": seconds}, status=429)
        answer.headers["Retry-After"] = str(seconds)
        return answer
