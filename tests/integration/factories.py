"""Small real things to test with, made through the services, as the system does."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User

from clients import services as client_services
from clients.models import Device, Pool
from jobs import services as job_services
from jobs.models import Artifact, Job, Round
from tenants import services as tenant_services
from tenants.models import Tenant
from tenants.scopes import system_scope

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_numbers = itertools.count(1)


def tenant(slug: str = "") -> Tenant:
    with system_scope():
        slug = slug or f"tenant-{next(_numbers)}"
        return tenant_services.create_tenant(slug=slug, name=slug.title(), now=NOW)


def token(of: Tenant, *scopes: str) -> str:
    with system_scope():
        _, secret = tenant_services.create_token(
            tenant_id=of.id, name="test", scopes=scopes or None, created_by="test", now=NOW
        )
    return secret


def member(of: Tenant, role: str, username: str = "") -> User:
    user = User.objects.create_user(username or f"user-{next(_numbers)}", password="correct horse")
    with system_scope():
        tenant_services.add_member(tenant=of, user=user, role=role, now=NOW)
    return user


def pool(of: Tenant | None = None, name: str = "") -> Pool:
    with system_scope():
        return client_services.create_pool(
            name=name or f"pool-{next(_numbers)}", tenant_id=of.id if of else None, now=NOW
        )


def device(of: Pool, **attributes: Any) -> Device:
    with system_scope():
        number = next(_numbers)
        return Device.objects.create(
            tenant_id=of.tenant_id,
            pool=of,
            name=f"device-{number}",
            public_key=f"{number:064x}",
            attributes=attributes,
            workloads={"program": ["1"], "handler": ["train"]},
            enrolled_at=NOW,
        )


def parameters(of: Tenant, digest: str = "a" * 64, size_bytes: int = 1000) -> Artifact:
    with system_scope():
        return job_services.register_artifact(
            tenant_id=of.id,
            kind=Artifact.Kind.PARAMETERS,
            digest=digest,
            size_bytes=size_bytes,
            status=Artifact.Status.VALID,
            tensors={"weight": {"shape": [2, 2], "dtype": "F32"}},
            errors={},
            now=NOW,
        )


def spec(**changes: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "schema": 1,
        "name": "linear",
        "workload": {"kind": "handler", "handler": "train", "dataset": "digits"},
        "parameters": "a" * 64,
        "rounds": {"count": 2, "demand": 6, "selection_s": 10, "deadline_s": 20},
    }
    for path, value in changes.items():
        *folders, last = path.split("__")
        inner = raw
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = value
    return raw


def job(of: Tenant, *, admitted: bool = True, now: datetime = NOW, **changes: Any) -> Job:
    parameters(of)
    with system_scope():
        found = job_services.submit(
            tenant_id=of.id, raw=spec(**changes), submitted_by="test", now=now
        )
        if admitted:
            job_services.admit(job_id=found.id, numbers={}, now=now)
        found.refresh_from_db()
    return found


def open_round(of: Job, kind: str = Round.Kind.TRAIN) -> Round:
    with system_scope():
        return Round.objects.exclude(status="finished").get(job=of, kind=kind)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)
