"""Signing in with a password, throttled: by account and address, by account, and by address."""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone

from core import knobs, origin, rates
from tenants import services
from tenants.scopes import system_scope

logger = logging.getLogger(__name__)


class ThrottledBackend(ModelBackend):
    """Django's own check of a password; every form that signs in comes through here."""

    # Django's base classes disagree with each other about these two.
    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, **credentials: Any
    ) -> User | None:
        """Check the password. Raises RateExceeded before a password is looked at."""
        username = credentials.get("username")
        if request is None or username is None:  # a command of ours, not somebody at the door
            return super().authenticate(request, **credentials)
        sender = origin.network(origin.get().address)
        pair = _rates(username, sender)
        # Counted before the check, so that attempts at the same moment count too.
        for rate, who in pair:
            rates.require(rate, who, "attempts to sign in")
        user = super().authenticate(request, **credentials)
        if user is None:
            logger.warning("sign_in.refused", extra={"address": origin.get().address})
            return None
        rates.forget(*pair[0])
        with system_scope():
            services.audit(
                tenant_id=None, actor=username, action="sign_in", target=username,
                now=timezone.now(),
            )  # fmt: skip
        return user

    async def aauthenticate(  # type: ignore[override]
        self, request: HttpRequest | None, **credentials: Any
    ) -> User | None:
        """Check the password in a thread: the inherited one would go past the rates."""
        return await sync_to_async(self.authenticate)(request, **credentials)


def _rates(username: str, sender: str) -> list[tuple[rates.Rate, str]]:
    known = knobs.get()
    account, window = username.casefold(), known.sign_in_window_s
    return [
        (rates.Rate("sign-in", known.sign_ins, window), f"{account} {sender}"),
        (rates.Rate("sign-in-account", known.sign_ins_per_account, window), account),
        (rates.Rate("sign-in-address", known.sign_ins_per_address, window), sender),
    ]
