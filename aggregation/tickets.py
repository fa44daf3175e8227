"""Tickets: what a device may transfer, signed, so that no data-plane node asks the database.

``<payload>.<signature>`` in base64url; Ed25519, so that a leaf holds the public key only. One
ticket opens all transfers of its assignment and says which: a signature is most of the cost of
telling a device its assignment.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from core import knobs
from core.errors import Forbidden, NotAuthenticated


class BadTicket(NotAuthenticated):
    """Not signed by this platform, or damaged."""

    code = "bad_ticket"


class StaleTicket(NotAuthenticated):
    """Was good, and its time is over."""

    code = "stale_ticket"


class WrongTicket(Forbidden):
    """Good, and for something else."""

    code = "wrong_ticket"


class Ticket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a ticket opens: downloads by digest, and one upload of at most ``upload_bytes``.

    ``upload_bytes`` is 0 where there is nothing to upload. A leaf finds by ``round`` how updates
    are written.
    """

    assignment: str
    downloads: tuple[str, ...]
    upload_bytes: int
    expires: float
    round: str = ""

    def check_download(self, digest: str) -> None:
        """Raise WrongTicket unless this opens the download of ``digest``."""
        if digest not in self.downloads:
            allowed = ", ".join(self.downloads) or "no download"
            raise WrongTicket(
                f"the ticket is not for digest {digest[:80]!r}",
                errors={"digest": f"{digest[:80]!r}; the ticket opens {allowed}"},
            )

    def check_upload(self, assignment: str) -> None:
        """Raise WrongTicket unless this opens the upload of ``assignment``."""
        if assignment != self.assignment:
            raise WrongTicket(
                f"the ticket is not for assignment {assignment[:80]!r}",
                errors={"assignment": f"{assignment[:80]!r}; the ticket is {self.assignment}'s"},
            )
        if not self.upload_bytes:
            raise WrongTicket(
                "the ticket opens downloads only: this assignment takes a report, no update",
                errors={"direction": "upload; the ticket opens downloads only"},
            )


def issue(
    *,
    assignment_id: UUID,
    downloads: Sequence[str],
    upload_bytes: int,
    now: datetime,
    round_id: str = "",
) -> str:
    """Return a ticket that is good for ``ticket_s``; ``upload_bytes`` is 0 for no upload."""
    expires = now + timedelta(seconds=knobs.get().ticket_s)
    payload = msgspec.json.encode(
        Ticket(
            assignment=str(assignment_id),
            downloads=tuple(downloads),
            upload_bytes=upload_bytes,
            expires=expires.timestamp(),
            round=round_id,
        )
    )
    return f"{_encode(payload)}.{_encode(_private_key(settings.SECRET_KEY).sign(payload))}"


def verify(ticket: str, *, now: datetime, key: Ed25519PublicKey | None = None) -> Ticket:
    """Return what a ticket says; what it opens is the caller's to ask of it.

    Raises BadTicket, StaleTicket.
    """
    try:
        payload, signature = (_decode(part) for part in ticket.split("."))
        (key or public_key()).verify(signature, payload)
        found = msgspec.json.decode(payload, type=Ticket)
    except (ValueError, binascii.Error, InvalidSignature, msgspec.DecodeError) as error:
        raise BadTicket(
            "the ticket is not one of this platform's; send the one of the assignment"
            " as `Authorization: Bearer TICKET`"
        ) from error
    late = now.timestamp() - found.expires
    if late >= 0:
        raise StaleTicket(
            f"the ticket ran out {late:.0f} s ago; connect to the gateway again:"
            " welcome.resume has a new one"
        )
    return found


def public_key() -> Ed25519PublicKey:
    """Return the key that checks tickets; safe to give to leaves."""
    return _public_key(settings.SECRET_KEY)


@functools.lru_cache(maxsize=4)
def _public_key(secret: str) -> Ed25519PublicKey:
    return _private_key(secret).public_key()


@functools.lru_cache(maxsize=4)
def _private_key(secret: str) -> Ed25519PrivateKey:
    derived = HKDF(SHA256(), 32, salt=None, info=b"propius ticket v1").derive(secret.encode())
    return Ed25519PrivateKey.from_private_bytes(derived)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
