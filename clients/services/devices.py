"""Devices that connect, are seen, and are shut out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import transaction

from clients.models import Device
from clients.services.attributes import check_attributes
from core import events, hints
from core.errors import Forbidden, NotAuthenticated, NotFound
from propius import wire
from tenants import services as tenant_services


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
    try:
        device = Device.objects.select_related("pool").filter(id=UUID(device_id)).first()
    except ValueError:
        device = None
    if device is None:
        raise DeviceUnknown(f"no device {device_id}; enrol it again")
    _check_signature(device, signature, wire.proof(nonce, device_id))
    known = check_attributes(attributes)
    listed = {kind: sorted(names) for kind, names in workloads.items()}
    # The row is asked again: a revocation may have come since it was read.
    moved = Device.objects.filter(id=device.id, status=Device.Status.ACTIVE).update(
        attributes=known, workloads=listed, sdk=sdk, connected_at=now, seen_at=now
    )
    if not moved:
        raise DeviceRevoked("this device was revoked; ask the pool's admin")
    return Connected(
        device_id=device.id,
        name=device.name,
        pool_id=device.pool_id,
        pool_tenant_id=device.pool.tenant_id,
        attributes=known,
        workloads=listed,
    )


def _check_signature(device: Device, signature: str, signed: bytes) -> None:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(device.public_key))
    try:
        key.verify(bytes.fromhex(signature), signed)
    except (InvalidSignature, ValueError):
        raise BadSignature("the hello is not signed with this device's key") from None


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
