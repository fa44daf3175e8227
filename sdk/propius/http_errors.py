"""What the platform's HTTP API answers when it refuses, in words."""

from __future__ import annotations

from typing import Any

import httpx


class ApiError(Exception):
    """The platform refused a request, or could not be reached (``status`` 0).

    Attributes
    ----------
    status, code
        HTTP status and the stable code of the problem document (RFC 9457).
    detail
        What was wrong, for people.
    errors
        Faults by field, if any.
    """

    def __init__(
        self, status: int, code: str, detail: str, errors: dict[str, Any] | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors or {}
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.detail or self.code
        for field, fault in self.errors.items():
            words = "; ".join(map(str, fault)) if isinstance(fault, list) else str(fault)
            line = f"{field}: {words}" if field else words
            if self.detail not in (words, line):  # the only fault is often the detail already
                text += f"\n  {line}"
        return text


def error_of(answer: httpx.Response) -> ApiError:
    """Return the error for a response that is no success."""
    status = answer.status_code
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or not ({"code", "detail", "title"} & set(problem)):
        detail = f"{answer.url} answered {status} {answer.reason_phrase}"
        if status == 404:
            detail += "; is this the address of a Propius server?"
        return ApiError(status, "not_propius" if status == 404 else "http_error", detail)
    errors = problem.get("errors")
    if isinstance(errors, list):
        errors = {str(one.get("field", "")): one.get("detail", one) for one in errors}
    return ApiError(
        status,
        str(problem.get("code", "error")),
        str(problem.get("detail") or problem.get("title") or status),
        errors if isinstance(errors, dict) else None,
    )


def unreachable(url: str, error: Exception) -> ApiError:
    """Return the error for a request that got no answer."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return ApiError(0, "bad_url", f"{url!r} is no address; it starts with http:// or https://")
    if isinstance(error, httpx.TimeoutException):
        return ApiError(
            0, "timeout", f"{url} does not answer in time; try again, check the network"
        )
    detail = f"{url} cannot be reached ({error}); check the address and the network"
    if "WRONG_VERSION_NUMBER" in str(error):
        detail = f"{url} does not speak https; try the address with http://"
    return ApiError(0, "unreachable", detail)
