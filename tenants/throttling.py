"""How many requests each caller of the API may make; the answer's headers tell what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core import knobs, origin, rates
from tenants.access import Principal
from tenants.models import ApiToken

if TYPE_CHECKING:
    # The framework's views import the default throttles, so these may not import its views.
    from rest_framework.views import APIView


class CallerRate(BaseThrottle):
    """Per token; per member for the browser; per address for who is neither."""

    def __init__(self) -> None:
        self.wait_s = 0.0

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Count the request and tell whether it is within the rate."""
        rate = self.rate()
        spent = rates.spend(rate, _who(request))
        # On Django's request, where the middleware that writes the headers finds it.
        request._request.spent = (rate, spent)  # type: ignore[attr-defined]
        self.wait_s = spent.wait_s
        return spent.allowed

    def wait(self) -> float:
        """Return the seconds after which a refused request is allowed."""
        return self.wait_s

    def rate(self) -> rates.Rate:
        """Return the rate that holds here."""
        return rates.Rate("requests", knobs.get().api_requests_per_minute, 60)


class EnrolmentRate(CallerRate):
    """Per address, since a device has no token of its own yet."""

    def rate(self) -> rates.Rate:
        """Return the rate of enrolments."""
        return rates.Rate("enrolments", knobs.get().enrolments_per_minute, 60)


def _who(request: Request) -> str:
    if isinstance(request.auth, ApiToken):
        return f"token:{request.auth.pk}"
    if isinstance(request.user, Principal):
        return f"member:{request.user.pk}"
    return f"address:{origin.network(origin.get().address)}"
