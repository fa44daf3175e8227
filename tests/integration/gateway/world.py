"""What the gateway's tests work with: rows and blobs made through the services."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import numpy
import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection
from django.utils import timezone

from aggregation import blobs
from clients.models import Pool
from jobs.models import Assignment, Job, Round
from scheduling import services as scheduling_services
from tests.integration import factories
from tests.integration.gateway.sockets import FakeDevice


def square(fill: Any, side: int) -> bytes:
    return safetensors.numpy.save({"weight": fill((side, side), "f4")})


ZEROS = square(numpy.zeros, 2)
ONES = square(numpy.ones, 2)


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def rows(work: Callable[[], Any]) -> Any:
    """Run ``work`` on the database in a thread, as the event loop may not block."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return await asyncio.to_thread(run)


class World:
    """A tenant with a job, a shared pool, and devices in it."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.tenant = factories.tenant()
        self.pool: Pool = factories.pool()

    def device(self) -> FakeDevice:
        key = Ed25519PrivateKey.generate()
        row = factories.device(self.pool)
        row.public_key = key.public_key().public_bytes_raw().hex()
        row.save()
        return FakeDevice(self.application, key, str(row.id))

    def job(self, side: int = 2, **changes: Any) -> Job:
        """Admit a job whose parameters, a square of zeros, are really in the store; plan."""
        data = square(numpy.zeros, side)
        with blobs.store().writer() as writer:
            writer.write(data)
            digest = writer.commit()
        artifact = factories.parameters(self.tenant, digest=digest, size_bytes=len(data))
        artifact.tensors = {"weight": {"shape": [side, side], "dtype": "F32"}}
        artifact.save()
        made = factories.job(self.tenant, now=timezone.now(), parameters=digest, **changes)
        self.plan()
        return made

    def plan(self) -> None:
        scheduling_services.plan(now=timezone.now())

    def round(self, of: Job) -> Round:
        return factories.open_round(of)

    def assignment(self, identifier: str) -> Assignment:
        return Assignment.objects.get(id=identifier)
