"""A round with devices bound, whose updates are real files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from aggregation import artifacts, blobs, services, uploads
from clients.models import Device
from core.ids import uuid7
from jobs import services as job_services
from jobs.models import Job, Round
from propius import arrays
from tenants.models import Tenant
from tenants.scopes import scope, system_scope
from tests.integration import factories
from tests.integration.factories import NOW

BASE = {"weight": np.zeros((2, 2), np.float32), "steps": np.array([7], np.int64)}


@dataclass
class World:
    """A running job of a tenant, and its devices."""

    tenant: Tenant
    job: Job
    devices: list[Device]

    def round(self, kind: str = Round.Kind.TRAIN) -> Round:
        return factories.open_round(self.job, kind)

    def bind(self, round_: Round) -> list[tuple[Any, Device]]:
        """Bind a device to every slot; returns (assignment id, device)."""
        chosen = self.devices[: round_.target]
        bindings = [job_services.Binding(uuid7(), round_.id, one.id, 1) for one in chosen]
        with system_scope():
            outcomes = job_services.assign(bindings=bindings, now=NOW)
        assert set(outcomes.values()) == {"assigned"}
        return [(one.assignment_id, device) for one, device in zip(bindings, chosen, strict=True)]


def update(value: float, dtype: Any = np.float32) -> bytes:
    return arrays.save({"weight": np.full((2, 2), value, dtype)})


def upload(assignment_id: Any, device: Device, data: bytes, max_bytes: int = 1 << 20) -> str:
    """Send the bytes as the gateway does; returns their digest."""
    digest = hashlib.sha256(data).hexdigest()
    sink = uploads.open_upload(
        assignment_id=assignment_id, device_id=device.id, digest=digest,
        size_bytes=len(data), max_bytes=max_bytes,
    )  # fmt: skip
    try:
        sink.write(sink.offset, data)
        sink.finish()
    finally:
        sink.close()
    return digest


def send(assignment_id: Any, device: Device, value: float, weight: float = 1.0, **metrics: float):
    """Upload and accept an update of one value."""
    data = update(value)
    with system_scope():
        digest = upload(assignment_id, device, data)
        return services.accept_update(
            assignment_id=assignment_id, device_id=device.id, digest=digest,
            size_bytes=len(data), weight=weight, metrics=metrics, now=NOW,
        )  # fmt: skip


def make_world(tenant: Tenant | None = None, **changes: Any) -> World:
    tenant = tenant or factories.tenant()
    pool = factories.pool()
    with scope(tenant.id):
        stored = artifacts.store_parameters(
            tenant_id=tenant.id, stream=[arrays.save(BASE)], now=NOW
        )
    with system_scope():
        job = job_services.submit(
            tenant_id=tenant.id,
            raw=factories.spec(parameters=stored.digest, **changes),
            submitted_by="test",
            now=NOW,
        )
        job_services.admit(job_id=job.id, numbers={}, now=NOW)
        job.refresh_from_db()
    return World(tenant, job, [factories.device(pool) for _ in range(8)])


def path_of(digest: str):
    return blobs.store().path(digest)
