"""Every write to pools, devices and enrolment tokens."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.core.validators import validate_slug
from django.db import transaction
from django.db.models import F

from clients.models import AttributeDefinition, Device, EnrolmentToken, Pool
from core import events, hints
from core.errors import Conflict, Forbidden, Invalid, NotAuthenticated, NotFound
from propius import wire
from tenants import services as tenant_services

TOKEN_START = "ppe_"
MAX_ATTRIBUTES = 64
MAX_TEXT = 100


class PoolNameTaken(Conflict):
    """The tenant (or the operator) has a pool of this name."""

    code = "pool_name_taken"


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


class BadAttributes(Invalid):
    """Attributes that the schema does not know or of another type."""

    code = "bad_attributes"


class DeviceUnknown(NotFound):
    """No such device: it must enrol first."""

    code = "device_unknown"


class DeviceRevoked(Forbidden):
    """The device was revoked by an operator or its pool's admin."""

    code = "device_revoked"


class BadSignature(NotAuthenticated):
    """The hello is not signed with the device's key over this connection's nonce."""

    code = "bad_signature"


@dataclass(frozen=True, slots=True)
class Connected:
    """A device that has proved who it is."""

    device_id: UUID
    name: str
    pool_id: UUID
    pool_tenant_id: UUID | None
    attributes: dict[str, Any]
    workloads: dict[str, list[str]]


@transaction.atomic
def create_pool(*, name: str, tenant_id: UUID | None, now: datetime) -> Pool:
    """Create a pool, shared if it has no tenant. Raises PoolNameTaken."""
    if Pool.objects.filter(name=name, tenant_id=tenant_id).exists():
        raise PoolNameTaken(f"there is a pool {name!r}", errors={"name": f"{name!r} is taken"})
    validate_slug(name)
    return Pool.objects.create(name=name, tenant_id=tenant_id, created_at=now)


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
        target=f"{pool.name}/{name}", now=now,
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
            target=f"{token.pool.name}/{token.name}", now=now,
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
    known = check_attributes(attributes)
    pass_ = (
        EnrolmentToken.objects.select_related("pool")
        .filter(digest=tenant_services.digest_of(token), revoked_at=None)
        .first()
    )
    if pass_ is None:
        raise EnrolmentRefused("the enrolment token is unknown or revoked; ask for a new one")
    if pass_.expires_at <= now:
        raise EnrolmentExpired(
            f"the enrolment token expired at {pass_.expires_at.isoformat()}; ask for a new one"
        )
    device = Device.objects.select_related("pool").filter(public_key=key).first()
    if device is not None:
        if device.pool_id != pass_.pool_id or device.status != Device.Status.ACTIVE:
            raise KeyInUse("this key is another pool's or a revoked device's; make a new key")
        return device, False
    used = EnrolmentToken.objects.filter(id=pass_.id, uses__lt=F("max_uses")).update(
        uses=F("uses") + 1
    )
    if not used:
        raise EnrolmentUsedUp(
            f"the enrolment token has let in its {pass_.max_uses} devices; ask for a new one"
        )
    device = Device.objects.create(
        tenant_id=pass_.tenant_id,
        pool=pass_.pool,
        name=name,
        public_key=key,
        sdk=sdk,
        attributes=known,
        enrolled_at=now,
    )
    events.append("device.enrolled", now=now, tenant_id=device.tenant_id, device_id=device.id)
    return device, True


def connect(
    *,
    device_id: str,
    signature: str,
    nonce: str,
    sdk: str,
    attributes: Mapping[str, Any],
    workloads: Mapping[str, list[str]],
    now: datetime,
) -> Connected:
    """Check a hello and note what the device tells of itself.

    Raises DeviceUnknown, BadSignature, DeviceRevoked, BadAttributes.
    """
    known = check_attributes(attributes)
    try:
        device = Device.objects.select_related("pool").filter(id=UUID(device_id)).first()
    except ValueError:
        device = None
    if device is None:
        raise DeviceUnknown(f"no device {device_id}; enrol it again")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(device.public_key))
    try:
        key.verify(bytes.fromhex(signature), wire.proof(nonce, device_id))
    except (InvalidSignature, ValueError):
        raise BadSignature("the hello is not signed with this device's key") from None
    if device.status != Device.Status.ACTIVE:
        raise DeviceRevoked("this device was revoked; ask the pool's admin")
    listed = {kind: sorted(names) for kind, names in workloads.items()}
    Device.objects.filter(id=device.id).update(
        attributes=known, workloads=listed, sdk=sdk, connected_at=now, seen_at=now
    )
    return Connected(
        device_id=device.id,
        name=device.name,
        pool_id=device.pool_id,
        pool_tenant_id=device.pool.tenant_id,
        attributes=known,
        workloads=listed,
    )


def seen(*, device_ids: Iterable[UUID], now: datetime) -> None:
    """Note that these devices are connected now."""
    Device.objects.filter(id__in=list(device_ids)).update(seen_at=now)


@transaction.atomic
def revoke_device(*, device_id: UUID, actor: str, now: datetime) -> None:
    """Shut a device out, also from its open connection. Raises DeviceUnknown."""
    device = Device.objects.filter(id=device_id).first()
    if device is None:
        raise DeviceUnknown(f"no device {device_id}")
    moved = Device.objects.filter(id=device_id, status=Device.Status.ACTIVE).update(
        status=Device.Status.REVOKED, revoked_at=now
    )
    if moved:
        events.append("device.revoked", now=now, tenant_id=device.tenant_id, device_id=device_id)
        tenant_services.audit(
            tenant_id=device.tenant_id, actor=actor, action="device.revoke",
            target=str(device_id), now=now,
        )  # fmt: skip
    hints.to_gateways({"revoked": [str(device_id)]})


def check_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes in the types of the schema. Raises BadAttributes naming each fault."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise BadAttributes(f"{len(attributes)} attributes; at most {MAX_ATTRIBUTES} allowed")
    types = dict(AttributeDefinition.objects.values_list("name", "type"))
    known: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, value in attributes.items():
        if name not in types:
            faults[name] = f"not in the attribute schema; known are {', '.join(sorted(types))}"
        elif not _is_of(types[name], value):
            faults[name] = f"{str(value)[:40]!r} is not a {types[name]}"
        else:
            known[name] = value
    if faults:
        raise BadAttributes(
            "; ".join(f"{name}: {text}" for name, text in faults.items()), errors=faults
        )
    return known


def _is_of(kind: str, value: Any) -> bool:
    if kind == AttributeDefinition.Type.BOOLEAN:
        return isinstance(value, bool)
    if kind == AttributeDefinition.Type.STRING:
        return isinstance(value, str) and len(value) <= MAX_TEXT
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _public_key(text: str) -> str:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError:
        raise BadPublicKey(
            "public_key is not an Ed25519 key",
            errors={"public_key": "64 hex characters (32 bytes of Ed25519) are allowed"},
        ) from None
    return text.lower()
