"""Tickets: what a device may transfer, signed, so that no data-plane node asks the database.

``<payload>.<signature>`` in base64url; Ed25519, so that a leaf holds the public key only.
"""

from __future__ import annotations

import base64
import binascii
import functools
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from core import knobs
from core.errors import Forbidden

Direction = Literal["download", "upload"]


class BadTicket(Forbidden):
    """Not signed by this platform, damaged, or for something else."""

    code = "bad_ticket"


class StaleTicket(Forbidden):
    """Was good, and its time is over."""

    code = "stale_ticket"


class Ticket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a ticket says. ``digest`` is empty for an upload, whose bytes are not known yet."""

    assignment: str
    direction: Direction
    digest: str
    expires: float


def issue(*, assignment_id: UUID, direction: Direction, digest: str, now: datetime) -> str:
    """Return a ticket that is good for ``ticket_s``."""
    expires = now + timedelta(seconds=knobs.get().ticket_s)
    payload = msgspec.json.encode(
        Ticket(
            assignment=str(assignment_id),
            direction=direction,
            digest=digest,
            expires=expires.timestamp(),
        )
    )
    return f"{_encode(payload)}.{_encode(_private_key(settings.SECRET_KEY).sign(payload))}"


def verify(
    ticket: str,
    *,
    assignment_id: UUID,
    direction: Direction,
    digest: str,
    now: datetime,
    key: Ed25519PublicKey | None = None,
) -> Ticket:
    """Check a ticket for exactly this use. Raises BadTicket, StaleTicket."""
    try:
        payload, signature = (_decode(part) for part in ticket.split("."))
        (key or public_key()).verify(signature, payload)
        found = msgspec.json.decode(payload, type=Ticket)
    except (ValueError, binascii.Error, InvalidSignature, msgspec.DecodeError) as error:
        raise BadTicket(
            "the ticket is not one of this platform's; check in for a new one"
        ) from error
    for field, wanted in (
        ("assignment", str(assignment_id)),
        ("direction", direction),
        ("digest", digest),
    ):
        got = getattr(found, field)
        if got != wanted:
            raise BadTicket(
                f"the ticket is for {field} {got!r}, not {wanted!r}",
                errors={field: f"{wanted!r}; the ticket allows {got!r}"},
            )
    late = now.timestamp() - found.expires
    if late >= 0:
        raise StaleTicket(f"the ticket ran out {late:.0f} s ago; ask for a new one")
    return found


def public_key() -> Ed25519PublicKey:
    """Return the key that checks tickets; safe to give to leaves."""
    return _private_key(settings.SECRET_KEY).public_key()


@functools.lru_cache(maxsize=4)
def _private_key(secret: str) -> Ed25519PrivateKey:
    derived = HKDF(SHA256(), 32, salt=None, info=b"propius ticket v1").derive(secret.encode())
    return Ed25519PrivateKey.from_private_bytes(derived)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
