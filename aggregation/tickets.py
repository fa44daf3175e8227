"""Tickets: what a device may transfer, signed, so that no data-plane node asks the database.

``<payload>.<signature>`` in base64url; Ed25519, so that a leaf holds the public key only. One
ticket opens all transfers of its assignment and says which: a signature is most of the cost of
telling a device its assignment.

The signing key changes every ``ticket_key_s``. Each process derives it from the platform's secret
and the number of the period, so that all agree without a row; an earlier key checks tickets until
the last that it signed has run out, and the next one is known ahead. Of a secret that is being
replaced (``SECRET_KEY_FALLBACKS``) the keys still check and no longer sign.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

SKEW_S = 60.0
"""How far the clocks of two processes may be apart around the end of a period."""

PublicKeys = Mapping[str, Ed25519PublicKey]
"""Keys that check tickets, by their ids."""


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
    are written. ``key`` is the id of the key that signed it.
    """

    assignment: str
    downloads: tuple[str, ...]
    upload_bytes: int
    expires: float
    round: str = ""
    key: str = ""

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
    key = _key(settings.SECRET_KEY, _period(now.timestamp()))
    payload = msgspec.json.encode(
        Ticket(
            assignment=str(assignment_id),
            downloads=tuple(downloads),
            upload_bytes=upload_bytes,
            expires=expires.timestamp(),
            round=round_id,
            key=key.id,
        )
    )
    return f"{_encode(payload)}.{_encode(key.private.sign(payload))}"


def verify(ticket: str, *, now: datetime, keys: PublicKeys | None = None) -> Ticket:
    """Return what a ticket says; what it opens is the caller's to ask of it.

    ``keys`` are this platform's if they are not given.

    Raises BadTicket, StaleTicket.
    """
    known = public_keys(now=now) if keys is None else keys
    try:
        payload, signature = (_decode(part) for part in ticket.split("."))
        found = msgspec.json.decode(payload, type=Ticket)
        # That it is over needs no proof: its key may be gone by now, and it opens nothing.
        _check_time(found, now)
        known[found.key].verify(signature, payload)
    except (ValueError, KeyError, InvalidSignature, msgspec.DecodeError) as error:
        raise BadTicket(
            "the ticket is not one of this platform's; send the one of the assignment"
            " as `Authorization: Bearer TICKET`"
        ) from error
    return found


def public_keys(*, now: datetime) -> PublicKeys:
    """Return the keys that check tickets now and in the next period; safe to give to leaves."""
    at = now.timestamp()
    first = _period(at - knobs.get().ticket_s - SKEW_S)
    after = _period(at) + 2
    keys = [
        _key(secret, period)
        for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        for period in range(first, after)
    ]
    return {key.id: key.public for key in keys}


def by_id(keys: Iterable[Ed25519PublicKey]) -> PublicKeys:
    """Return keys by the ids that tickets name them with."""
    return {_id(key): key for key in keys}


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey


def _period(at: float) -> int:
    return int(at // knobs.get().ticket_key_s)


@functools.lru_cache(maxsize=64)
def _key(secret: str, period: int) -> _Key:
    about = f"propius ticket v2 {period}".encode()
    derived = HKDF(SHA256(), 32, salt=None, info=about).derive(secret.encode())
    private = Ed25519PrivateKey.from_private_bytes(derived)
    public = private.public_key()
    return _Key(_id(public), private, public)


def _id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _check_time(found: Ticket, now: datetime) -> None:
    late = now.timestamp() - found.expires
    if late >= 0:
        raise StaleTicket(
            f"the ticket ran out {late:.0f} s ago; connect to the gateway again:"
            " welcome.resume has a new one"
        )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
