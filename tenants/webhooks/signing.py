"""How a delivery is signed, and how its receiver checks that."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet
from django.conf import settings

HEADER = "Propius-Signature"


def signature(secret: str, *, at: int, body: bytes) -> str:
    """Return the header's value: ``t=<unix seconds>,v1=<hex>``.

    ``v1`` is HMAC-SHA256 under the webhook's secret over ``<t>.<body>``: the time is signed too,
    so that a receiver can refuse what was recorded and sent again later.
    """
    mac = hmac.digest(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hex()
    return f"t={at},v1={mac}"


def sealed(secret: str) -> bytes:
    """Encrypt a webhook's secret: we must know it to sign, a copy of the rows must not."""
    return _cipher().encrypt(secret.encode())


def opened(stored: bytes) -> str:
    """Return the secret that :func:`sealed` encrypted."""
    return _cipher().decrypt(stored).decode()


def _cipher() -> Fernet:
    key = hmac.digest(settings.SECRET_KEY.encode(), b"webhook secrets", hashlib.sha256)
    return Fernet(base64.urlsafe_b64encode(key))
