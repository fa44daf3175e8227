"""What holds for every request: its origin, that it can be read, the API's conditional answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.cache import get_conditional_response

from core import origin, problems, rates
from core.errors import Invalid

API = "/api/"
CONSOLE = "/admin/"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")
UTF_8 = ("utf-8", "utf8")


class RequestOrigin:
    """Keep the sender's address for the audit and for rates."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer within the request's origin. uvicorn has put a trusted proxy's client there."""
        with origin.of(address=request.META.get("REMOTE_ADDR")):
            return self.get_response(request)


class ApiHeaders:
    """Tell what is left of the caller's rate; give GETs a weak ETag and answer If-None-Match."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, with the headers that every API answer has."""
        response = self.get_response(request)
        if not request.path.startswith(API):
            return response
        if response.status_code >= 400 and _is_html(response):
            # Django's own refusals: a path that there is not, a host, a form's token.
            return _as_problem(response)
        spent = getattr(request, "spent", None)
        if spent is not None:
            for name, value in rates.headers(*spent).items():
                response.headers[name] = value
        response.headers.setdefault("Cache-Control", "private, no-cache")
        if _has_etag(request, response):
            # Weak: equal in meaning, whatever a proxy does to the bytes.
            digest = hashlib.sha256(response.content).hexdigest()[:32]
            etag = f'W/"{digest}"'
            response.headers["ETag"] = etag
            conditional = get_conditional_response(request, etag=etag, response=response)
            return conditional or response
        return response


class ReadableRequest:
    """Answer 400 to what cannot become text that is stored, before anybody reads it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, or refuse in the way of the API or of the pages."""
        fault = _fault(request)
        if not fault:
            return self.get_response(request)
        problem = problems.as_problem(Invalid(fault))
        if request.path.startswith(API):
            return JsonResponse(problem, status=400, content_type=problems.TYPE)
        return render(request, "400.html", problem, status=400)


def _fault(request: HttpRequest) -> str:
    charset = (request.content_params or {}).get("charset", UTF_8[0])
    if request.content_type in FORMS and charset.lower() not in UTF_8:
        # Python's codecs read more than text: half pairs of surrogates, compressed bytes.
        return f"the form's charset is {charset!r}; UTF-8 is allowed"
    if request.path.startswith(CONSOLE) and "%00" in request.META["QUERY_STRING"]:
        # The console's lists put into a query whatever their address says.
        return "the address holds a NUL"
    return ""


def _has_etag(request: HttpRequest, response: HttpResponse) -> bool:
    return (
        request.method in ("GET", "HEAD")
        and response.status_code == 200
        and not response.streaming
        and not response.has_header("ETag")
        and not _is_html(response)
    )


def _is_html(response: HttpResponse) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")


def _as_problem(response: HttpResponse) -> HttpResponse:
    problem = problems.of_status(response.status_code)
    return JsonResponse(problem, status=response.status_code, content_type=problems.TYPE)
