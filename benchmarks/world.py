"""Rows that the benchmarks work with. Import it after Django is set up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone

from benchmarks.devices import Device, key_of
from clients import models as clients_models
from clients import services as clients_services
from core.ids import uuid7
from jobs import services as jobs_services
from jobs.models import Artifact, Job
from tenants import services as tenant_services

PARAMETERS = "a" * 64


class World:
    """Tenants with parameters, and one shared pool."""

    def __init__(self, tenants: int, name: str = "bench") -> None:
        self.name = name
        now = timezone.now()
        self.tenants: list[UUID] = []
        for number in range(tenants):
            made = tenant_services.create_tenant(
                slug=f"{name}-{number}", name=f"{name} {number}", now=now
            )
            jobs_services.register_artifact(
                tenant_id=made.id, kind=Artifact.Kind.PARAMETERS, digest=PARAMETERS,
                size_bytes=1000, status=Artifact.Status.VALID,
                tensors={"weight": {"shape": [2, 2], "dtype": "F32"}}, errors={}, now=now,
            )  # fmt: skip
            self.tenants.append(made.id)
        self.pool = clients_services.create_pool(name=name, tenant_id=None, now=now)

    def devices(self, count: int) -> list[Device]:
        """Enrol devices. In bulk, past the service, whose each would be a transaction."""
        now = timezone.now()
        keys = [key_of(f"{self.name} {number}") for number in range(count)]
        rows = [
            clients_models.Device(
                id=uuid7(),
                pool=self.pool,
                name=f"device-{number}",
                public_key=key.public_key().public_bytes_raw().hex(),
                enrolled_at=now,
            )
            for number, key in enumerate(keys)
        ]
        clients_models.Device.objects.bulk_create(rows, batch_size=2000)
        return [Device(str(row.id), key) for row, key in zip(rows, keys, strict=True)]

    def submit(self, number: int, *, demand: int, over_selection: float = 1.0) -> Job:
        """Submit a job as a tenant does; the platform admits it and opens its first round."""
        spec: dict[str, Any] = {
            "schema": 1,
            "name": f"job {number}",
            "workload": {"kind": "handler", "handler": "train", "dataset": "digits"},
            "parameters": PARAMETERS,
            "rounds": {
                "count": 1, "demand": demand, "over_selection": over_selection,
                "selection_s": 3600, "deadline_s": 3600,
            },
        }  # fmt: skip
        return jobs_services.submit(
            tenant_id=self.tenants[number % len(self.tenants)],
            raw=spec,
            submitted_by="bench",
            now=timezone.now(),
        )

    def cancel(self, jobs: list[Job]) -> None:
        """End jobs."""
        for job in jobs:
            jobs_services.cancel(job_id=job.id, actor="bench", now=timezone.now())

    def cancel_all(self) -> None:
        """End every job, so that another benchmark finds a platform without demand."""
        self.cancel(list(Job.objects.exclude(status=Job.Status.FINISHED)))
