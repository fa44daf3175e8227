"""How a delivery is signed, and how its receiver checks that."""

from __future__ import annotations

import contextlib
import hashlib
import hmac

from cryptography.fernet import InvalidToken, MultiFernet

from tenants import keys

HEADER = "Propius-Signature"
USE = b"webhook secrets"


def signature(secret: str, *, at: int, body: bytes) -> str:
    """Return the header's value: ``t=<unix seconds>,v1=<hex>``.

    ``v1`` is HMAC-SHA256 under the webhook's secret over ``<t>.<body>``: the time is signed too,
    so that a receiver can refuse what was recorded and sent again later.
    """
    mac = hmac.digest(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hex()
    return f"t={at},v1={mac}"


class SecretSealed(Exception):
    """The webhook's secret was encrypted under a key that is no longer known."""


def sealed(secret: str) -> bytes:
    """Encrypt a webhook's secret: we must know it to sign, a copy of the rows must not."""
    return keys.cipher(USE).encrypt(secret.encode())


def opened(stored: bytes) -> str:
    """Return the secret that :func:`sealed` encrypted. Raises SecretSealed."""
    try:
        return MultiFernet(keys.ciphers(USE)).decrypt(stored).decode()
    except InvalidToken:
        raise SecretSealed(
            "the secret was encrypted under another PROPIUS_SECRET_KEY; make the webhook anew"
        ) from None


def renewed(stored: bytes) -> bytes | None:
    """Encrypt anew what a key that is being replaced has encrypted; None for all else."""
    ciphers = keys.ciphers(USE)
    with contextlib.suppress(InvalidToken):
        ciphers[0].decrypt(stored)
        return None
    with contextlib.suppress(InvalidToken):
        return MultiFernet(ciphers).rotate(stored)
    return None
