"""Devices that connect, are seen, and are shut out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import transaction

from clients.models import Device
from clients.services.attributes import check_against, schema
from core import events, hints, reasons, statements
from core.errors import Forbidden, NotAuthenticated, NotFound, PropiusError
from propius import wire
from tenants import services as tenant_services

NOBODY = UUID(int=0)


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


@dataclass(frozen=True, slots=True)
class Hello:
    """What a device says of itself, signed over its connection's nonce."""

    device_id: str
    signature: str
    nonce: str
    sdk: str
    attributes: Mapping[str, Any]
    workloads: Mapping[str, list[str]]


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
    hello = Hello(device_id, signature, nonce, sdk, attributes, workloads)
    (found,) = connect_many(hellos=[hello], now=now)
    if isinstance(found, PropiusError):
        raise found
    return found


def connect_many(*, hellos: Sequence[Hello], now: datetime) -> list[Connected | PropiusError]:
    """Check many hellos with three statements; returns what :func:`connect` would return or raise.

    After a restart all devices of a gateway come at once.
    """
    wanted = {key for one in hellos if (key := _uuid(one.device_id)) is not None}
    devices = Device.objects.select_related("pool").in_bulk(wanted)
    types = schema()
    answers: list[Connected | PropiusError] = []
    for one in hellos:
        try:
            device = devices.get(_uuid(one.device_id) or NOBODY)
            answers.append(_checked(one, device, types))
        except PropiusError as error:
            answers.append(error)
    genuine = {one.device_id: at for at, one in enumerate(answers) if isinstance(one, Connected)}
    active = _note(hellos, answers, sorted(genuine), genuine, now)
    for at, answer in enumerate(answers):
        if isinstance(answer, Connected) and answer.device_id not in active:
            answers[at] = DeviceRevoked("this device was revoked; ask the pool's admin")
    return answers


def _checked(hello: Hello, device: Device | None, types: Mapping[str, str]) -> Connected:
    if device is None:
        raise DeviceUnknown(f"no device {hello.device_id}; enrol it again")
    _check_signature(device, hello.signature, wire.proof(hello.nonce, hello.device_id))
    return Connected(
        device_id=device.id,
        name=device.name,
        pool_id=device.pool_id,
        pool_tenant_id=device.pool.tenant_id,
        attributes=check_against(types, hello.attributes),
        workloads={kind: sorted(names) for kind, names in hello.workloads.items()},
    )


def _note(
    hellos: Sequence[Hello],
    answers: Sequence[Connected | PropiusError],
    ids: Sequence[UUID],
    places: Mapping[UUID, int],
    now: datetime,
) -> set[UUID]:
    """Write what devices told; return those that are active, in the rows as they are now."""
    if not ids:
        return set()
    told = [(hellos[places[key]], answers[places[key]]) for key in ids]
    with transaction.atomic(), statements.prepared() as cursor:
        cursor.execute(
            """
            UPDATE clients_device d
            SET attributes = v.attributes, workloads = v.workloads, sdk = v.sdk,
                connected_at = %s, seen_at = %s
            FROM unnest(%s::uuid[], %s::jsonb[], %s::jsonb[], %s::text[])
                AS v(id, attributes, workloads, sdk)
            WHERE d.id = v.id AND d.status = 'active' RETURNING d.id
            """,
            [
                now,
                now,
                list(ids),
                [json.dumps(one.attributes) for _, one in told if isinstance(one, Connected)],
                [json.dumps(one.workloads) for _, one in told if isinstance(one, Connected)],
                [hello.sdk for hello, _ in told],
            ],
        )
        return {device_id for (device_id,) in cursor.fetchall()}


def leave(*, device_id: UUID, signature: str, now: datetime) -> None:
    """Revoke a device by its own word, signed with its key; it may say so again.

    Raises
    ------
    DeviceUnknown, BadSignature
        Nobody is who signed this.
    """
    device = Device.objects.filter(id=device_id).first()
    if device is None:
        raise DeviceUnknown(f"no device {device_id}")
    # No nonce: whoever repeats it can only do what has been done.
    _check_signature(device, signature, wire.leaving(str(device_id)))
    revoke_device(device_id=device_id, actor=f"device {device_id}", now=now)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _check_signature(device: Device, signature: str, signed: bytes) -> None:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(device.public_key))
    try:
        key.verify(bytes.fromhex(signature), signed)
    except (InvalidSignature, ValueError):
        raise BadSignature("this is not signed with this device's key") from None


def seen(*, device_ids: Iterable[UUID], now: datetime) -> None:
    """Note that these devices are connected now."""
    Device.objects.filter(id__in=list(device_ids)).update(seen_at=now)


@transaction.atomic
def revoke_device(*, device_id: UUID, actor: str, now: datetime, reason: str = "") -> None:
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
            target=str(device_id), now=now, name=device.name, **reasons.told(reason),
        )  # fmt: skip
    hints.to_gateways({"revoked": [str(device_id)]})
    # It may hold work without a connection: then no gateway gives that back.
    hints.send("jobs.withdraw", str(device_id), queue="scheduling")
