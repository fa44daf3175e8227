"""One place that turns errors into problem+json answers (RFC 9457)."""

from __future__ import annotations

import http
import math
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from core import errors

TYPE = "application/problem+json"
_CODES = {
    400: "invalid", 401: "not_authenticated", 403: "forbidden", 404: "not_found",
    405: "method_not_allowed", 406: "not_acceptable", 415: "unsupported_media_type",
    429: "too_many",
}  # fmt: skip


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Answer ``exc`` as problem+json; None for what is a fault of ours (500)."""
    problem = as_problem(exc)
    if problem is None:
        return None
    set_rollback()
    headers = {}
    if problem["status"] == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="propius"'
    if getattr(exc, "wait", None):
        headers["Retry-After"] = str(max(1, math.ceil(exc.wait)))  # type: ignore[attr-defined]
    return Response(
        problem,
        status=problem["status"],
        headers=headers,
        content_type=TYPE,
    )


def as_problem(exc: Exception) -> dict[str, Any] | None:
    """Return the problem document of ``exc``, or None if it is not ours to explain."""
    if isinstance(exc, errors.PropiusError):
        return _problem(exc.status, exc.title, exc.code, exc.detail, exc.errors)
    if isinstance(exc, Http404):
        return as_problem(errors.NotFound())
    if isinstance(exc, PermissionDenied):
        return as_problem(errors.Forbidden())
    if isinstance(exc, exceptions.ValidationError):
        faults = _flatten(exc.detail)
        detail = "; ".join(f"{field}: {text}" for field, text in faults.items())
        return _problem(400, errors.Invalid.title, "invalid", detail, faults)
    if isinstance(exc, exceptions.APIException):
        code = _CODES.get(exc.status_code, "error")
        return _problem(exc.status_code, exc.default_detail, code, str(exc.detail), {})
    return None


def of_status(status: int) -> dict[str, Any]:
    """Return the problem document of a refusal of which only the status is known."""
    return _problem(status, http.HTTPStatus(status).phrase, _CODES.get(status, "error"), "", {})


def _problem(
    status: int, title: Any, code: str, detail: str, faults: dict[str, str]
) -> dict[str, Any]:
    return {
        "type": f"/problems/{code}",
        "title": str(title),
        "status": status,
        "code": code,
        "detail": detail,
        "errors": faults,
    }


def _flatten(detail: Any, path: str = "") -> dict[str, str]:
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(detail, dict):
        pairs = detail.items()
    elif isinstance(detail, list) and any(isinstance(one, dict | list) for one in detail):
        pairs = ((str(index), one) for index, one in enumerate(detail))
    else:
        texts = detail if isinstance(detail, list) else [detail]
        return {path: " ".join(str(text) for text in texts)}
    faults: dict[str, str] = {}
    for key, one in pairs:
        step = "" if key == "non_field_errors" else str(key)
        faults |= _flatten(one, ".".join(part for part in (path, step) if part))
    return faults
