"""The door through which a device joins a pool: tokens, and their use."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import IntegrityError, transaction
from django.db.models import F

from clients.models import Device, EnrolmentToken, Pool
from clients.services.attributes import check_attributes
from core import events
from core.errors import Conflict, Forbidden, Invalid, NotFound
from tenants import services as tenant_services

TOKEN_START = "ppe_"


class EnrolmentRefused(Forbidden):
    """The enrolment token does not open the pool (any more)."""

    code = "token_unknown"


class EnrolmentExpired(EnrolmentRefused):
    """The enrolment token was good until a time that has passed."""

    code = "token_expired"


class EnrolmentUsedUp(EnrolmentRefused):
    """As many devices as allowed have joined with this token."""

    code = "token_used_up"


class BadPublicKey(Invalid):
    """Not 32 bytes of Ed25519 public key in hex."""

    code = "bad_public_key"


class KeyInUse(Conflict):
    """The key belongs to a device of another pool, or to a revoked one."""

    code = "key_in_use"


@transaction.atomic
def create_enrolment_token(
    *,
    pool: Pool,
    name: str,
    max_uses: int,
    expires_at: datetime,
    created_by: str,
    now: datetime,
) -> tuple[EnrolmentToken, str]:
    """Create a token; returns its row and the secret, which is not kept."""
    if not 1 <= max_uses <= 1_000_000:
        raise Invalid(
            "max_uses is out of range", errors={"max_uses": f"{max_uses}; 1 to 1 000 000 allowed"}
        )
    if expires_at <= now:
        raise Invalid(
            "expires_at is in the past",
            errors={"expires_at": f"{expires_at.isoformat()} has passed"},
        )
    secret = TOKEN_START + secrets.token_urlsafe(32)
    token = EnrolmentToken.objects.create(
        tenant_id=pool.tenant_id,
        pool=pool,
        name=name,
        digest=tenant_services.digest_of(secret),
        start=secret[:8],
        max_uses=max_uses,
        created_by=created_by,
        created_at=now,
        expires_at=expires_at,
    )
    tenant_services.audit(
        tenant_id=pool.tenant_id, actor=created_by, action="enrolment_token.create",
        target=f"{pool.name}/{name}", now=now, token=str(token.id), max_uses=max_uses,
        expires_at=expires_at.isoformat(),
    )  # fmt: skip
    return token, secret


@transaction.atomic
def revoke_enrolment_token(*, token_id: UUID, actor: str, now: datetime) -> None:
    """Revoke an enrolment token; devices that joined with it stay. Raises NotFound."""
    token = EnrolmentToken.objects.select_related("pool").filter(id=token_id).first()
    if token is None:
        raise NotFound(f"no enrolment token {token_id}")
    if EnrolmentToken.objects.filter(id=token_id, revoked_at=None).update(revoked_at=now):
        tenant_services.audit(
            tenant_id=token.tenant_id, actor=actor, action="enrolment_token.revoke",
            target=f"{token.pool.name}/{token.name}", now=now, token=str(token_id),
        )  # fmt: skip


@transaction.atomic
def enrol(
    *,
    token: str,
    public_key: str,
    sdk: str,
    name: str,
    attributes: Mapping[str, Any],
    now: datetime,
) -> tuple[Device, bool]:
    """Let a device join the token's pool; tells whether it is new. The same key may come again.

    Raises EnrolmentRefused, EnrolmentExpired, EnrolmentUsedUp, BadPublicKey, KeyInUse,
    BadAttributes.
    """
    key = _public_key(public_key)
    pass_ = _pass(token, now)
    known = check_attributes(attributes)
    found = _present(key, pass_)
    if found is not None:
        return found, False
    try:
        with transaction.atomic():
            _use(pass_)
            device = Device.objects.create(
                tenant_id=pass_.tenant_id,
                pool=pass_.pool,
                name=name,
                public_key=key,
                sdk=sdk,
                attributes=known,
                enrolled_at=now,
            )
    except IntegrityError:
        # The same key at the same moment: the other request won, and its device is ours.
        found = _present(key, pass_)
        if found is None:
            raise
        return found, False
    events.append("device.enrolled", now=now, tenant_id=device.tenant_id, device_id=device.id)
    tenant_services.audit(
        tenant_id=device.tenant_id, actor=f"enrolment token {pass_.name}", action="device.enrol",
        target=str(device.id), now=now, pool=pass_.pool.name, token=str(pass_.id),
    )  # fmt: skip
    return device, True


def _pass(token: str, now: datetime) -> EnrolmentToken:
    found = (
        EnrolmentToken.objects.select_related("pool")
        .filter(digest=tenant_services.digest_of(token), revoked_at=None)
        .first()
    )
    if found is None:
        raise EnrolmentRefused("the enrolment token is unknown or revoked; ask for a new one")
    if found.expires_at <= now:
        raise EnrolmentExpired(
            f"the enrolment token expired at {found.expires_at.isoformat()}; ask for a new one"
        )
    return found


def _present(key: str, pass_: EnrolmentToken) -> Device | None:
    device = Device.objects.select_related("pool").filter(public_key=key).first()
    if device is None:
        return None
    if device.pool_id != pass_.pool_id or device.status != Device.Status.ACTIVE:
        raise KeyInUse("this key is another pool's or a revoked device's; make a new key")
    return device


def _use(pass_: EnrolmentToken) -> None:
    left = EnrolmentToken.objects.filter(id=pass_.id, revoked_at=None, uses__lt=F("max_uses"))
    if not left.update(uses=F("uses") + 1):
        raise EnrolmentUsedUp(
            f"the enrolment token has let in its {pass_.max_uses} devices; ask for a new one"
        )


def _public_key(text: str) -> str:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError:
        raise BadPublicKey(
            "public_key is not an Ed25519 key",
            errors={"public_key": "64 hex characters (32 bytes of Ed25519) are allowed"},
        ) from None
    return text.lower()
