"""Error families. An error class stands beside the function that raises it and names its code."""

from __future__ import annotations

from collections.abc import Mapping


class PropiusError(Exception):
    """Base of every error that a caller may see: a stable ``code``, a text, faults by field."""

    code = "error"
    status = 500
    title = "Something went wrong"

    def __init__(self, detail: str = "", *, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = dict(errors or {})


class Invalid(PropiusError):
    """What was sent is wrong in itself."""

    code, status, title = "invalid", 400, "The request is not valid"

    @classmethod
    def check(cls, errors: Mapping[str, str]) -> None:
        """Raise with every fault, field by field, if there is one."""
        if errors:
            text = "; ".join(f"{field}: {fault}" for field, fault in errors.items())
            raise cls(text, errors=errors)


class NotAuthenticated(PropiusError):
    """Nobody is signed in, or the credentials are wrong."""

    code, status, title = "not_authenticated", 401, "Sign in or send a valid token"


class Forbidden(PropiusError):
    """Known, but not allowed."""

    code, status, title = "forbidden", 403, "You are not allowed to do this"


class NotFound(PropiusError):
    """It does not exist, or belongs to somebody else: the answer is the same."""

    code, status, title = "not_found", 404, "There is no such thing"


class Conflict(PropiusError):
    """It does not fit the present state."""

    code, status, title = "conflict", 409, "This does not fit the present state"


class TooLarge(PropiusError):
    """Over a size cap."""

    code, status, title = "too_large", 413, "This is too large"


class Unprocessable(PropiusError):
    """Well formed, and still not usable."""

    code, status, title = "unprocessable", 422, "This cannot be used"


class TooMany(PropiusError):
    """Over a rate or a quota."""

    code, status, title = "too_many", 429, "Too many requests"


class Unavailable(PropiusError):
    """A part of the platform is away; try again."""

    code, status, title = "unavailable", 503, "Try again in a moment"
