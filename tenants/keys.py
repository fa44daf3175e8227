"""Keys that follow from the platform's secret: one for each use, so that none opens another's."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet
from django.conf import settings


def mac(use: bytes, *, secret: str | None = None) -> bytes:
    """Return 32 bytes for one use, of today's secret if none is given."""
    key = settings.SECRET_KEY if secret is None else secret
    return hmac.digest(key.encode(), use, hashlib.sha256)


def cipher(use: bytes, *, secret: str | None = None) -> Fernet:
    """Return what values of one use are encrypted with."""
    return Fernet(base64.urlsafe_b64encode(mac(use, secret=secret)))


def ciphers(use: bytes) -> list[Fernet]:
    """Return the cipher of today's secret, then those of secrets that are being replaced."""
    known = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return [cipher(use, secret=one) for one in known]
