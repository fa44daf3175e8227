"""What the platform's HTTP API answers when it refuses, in words."""

from __future__ import annotations

from typing import Any

import httpx

FIXES = {
    502: "try again; if it goes on, tell the operator",
    503: "try again; if it goes on, tell the operator",
    504: "try again; if it goes on, tell the operator",
}
"""What to do where the server's own words do not say it."""
UNTRUSTED_FIX = (
    "check the clock and the address, or set SSL_CERT_FILE to your authority's file "
    "(for a device: enrol with --ca FILE)"
)


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
    fix
        What to do about it, if that is known here; ``str`` has it too.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: dict[str, Any] | None = None,
        *,
        fix: str = "",
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors or {}
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.detail or self.code
        for field, fault in self.errors.items():
            words = "; ".join(map(str, fault)) if isinstance(fault, list) else str(fault)
            line = f"{field}: {words}" if field else words
            if self.detail not in (words, line):  # the only fault is often the detail already
                text += f"\n  {line}"
        return f"{text}; {self.fix}" if self.fix else text


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
            fix = "is this the address of a Propius server?"
            return ApiError(status, "not_propius", detail, fix=fix)
        return ApiError(status, "http_error", detail, fix=FIXES.get(status, ""))
    errors = problem.get("errors")
    if isinstance(errors, list):
        errors = {str(one.get("field", "")): one.get("detail", one) for one in errors}
    return ApiError(
        status,
        str(problem.get("code", "error")),
        str(problem.get("detail") or problem.get("title") or status),
        errors if isinstance(errors, dict) else None,
        fix=FIXES.get(status, ""),
    )


def unreachable(url: str, error: Exception) -> ApiError:
    """Return the error for a request that got no answer."""
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        fix = "it starts with http:// or https://"
        return ApiError(0, "bad_url", f"{url!r} is no address", fix=fix)
    if isinstance(error, httpx.TimeoutException):
        fix = "try again, check the network"
        return ApiError(0, "timeout", f"{url} does not answer in time", fix=fix)
    if "WRONG_VERSION_NUMBER" in str(error):
        fix = "try the address with http://"
        return ApiError(0, "unreachable", f"{url} does not speak https", fix=fix)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        text = f"the certificate of {url} is not trusted"
        return ApiError(0, "certificate", text, fix=UNTRUSTED_FIX)
    fix = "check the address and the network"
    return ApiError(0, "unreachable", f"{url} cannot be reached ({error})", fix=fix)
