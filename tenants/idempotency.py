"""Answers to POSTs that carry an ``Idempotency-Key``: a replay gets the first one again.

The row is written in the transaction of the change itself: either both are there or neither, and
a replay at the same moment waits at the unique index for what becomes of the first. An error
changed nothing, so it is not kept, and the same key may try again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cryptography.fernet import Fernet

from core import knobs
from core.errors import Conflict
from tenants import keys
from tenants.models import StoredAnswer

MAX_KEY = 100


class KeyReused(Conflict):
    """The key was used for another request."""

    code = "idempotency_conflict"


@dataclass(frozen=True, slots=True)
class Key:
    """An ``Idempotency-Key`` of one caller; another caller's equal key is another one."""

    tenant_id: UUID | None
    caller: str
    text: str

    def digest(self) -> str:
        """Return under what the answer is stored."""
        return keys.mac(self._use("key")).hex()

    def cipher(self) -> Fernet:
        """Return what the stored answer is encrypted with."""
        return keys.cipher(self._use("answer"))

    def _use(self, purpose: str) -> bytes:
        return "\0".join((purpose, str(self.tenant_id), self.caller, self.text)).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: status, JSON, and where the new thing is."""

    status: int
    body: bytes
    location: str


def begin(*, key: Key, request: bytes, now: datetime) -> Answer | None:
    """Claim the key for this request; returns the answer if it was answered. Raises KeyReused."""
    fingerprint = hashlib.sha256(request).hexdigest()
    row, created = StoredAnswer.objects.get_or_create(  # type: ignore[misc] # None: no tenant
        tenant_id=key.tenant_id,
        key=key.digest(),
        defaults={"request": fingerprint, "created_at": now},
    )
    if row.request != fingerprint:
        raise KeyReused(f"Idempotency-Key {key.text!r} was used for another request; use a new key")
    if created or row.status is None:
        return None
    return Answer(row.status, key.cipher().decrypt(bytes(row.body)), row.location)


def keep(*, key: Key, answer: Answer) -> None:
    """Keep the first answer to a request that was begun; once more if it has become fuller."""
    rows = StoredAnswer.objects.filter(  # type: ignore[misc] # None: no tenant
        tenant_id=key.tenant_id, key=key.digest()
    )
    body = key.cipher().encrypt(answer.body)
    rows.update(status=answer.status, location=answer.location, body=body)


def sweep(*, now: datetime) -> int:
    """Forget answers older than the retention; returns how many."""
    until = now - timedelta(seconds=knobs.get().idempotency_s)
    return StoredAnswer.objects.filter(created_at__lt=until).delete()[0]
