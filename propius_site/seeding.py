"""Rows as a tenant has them after months: to measure pages and calls, and to look at them, at size.

They are rows only: no device holds the keys, and no tensors lie behind the model versions. The
tenant is one of its own, and all goes with it.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from django.db.models import Model

from aggregation import usage
from aggregation.models import ModelVersion
from clients import services as client_services
from clients.models import Device, Pool
from core.ids import uuid7
from core.models import Event
from jobs import services as job_services
from jobs.models import Artifact, Assignment, Job, Round
from scheduling.models import PoolMinute
from tenants import services as tenant_services
from tenants.models import Tenant

RUNNING_JOBS, OPEN_JOBS, PER_ROUND, BATCH, SHARED = 3, 5, 5, 5_000, 0.9
PARAMETERS = hashlib.sha256(b"seeded").hexdigest()
SYSTEMS = ("android", "linux", "macos", "ios")
M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Size:
    """How many rows to make; rounds are shared out among the jobs."""

    jobs: int = 200
    rounds: int = 20_000
    devices: int = 50_000


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was made."""

    tenant: Tenant
    shared: Pool
    private: Pool
    jobs: list[Job]


def seed(size: Size, *, slug: str, now: datetime) -> Seeded:
    """Make a tenant of this size, as the system role, in one transaction of the caller's."""
    draw = random.Random(7)
    tenant = tenant_services.create_tenant(slug=slug, name=slug.title(), now=now)
    shared = client_services.create_pool(name=f"{slug}-shared", tenant_id=None, now=now)
    private = client_services.create_pool(name=f"{slug}-own", tenant_id=tenant.id, now=now)
    devices = _save(Device, _devices(size.devices, shared, private, draw, now))
    job_services.register_artifact(
        tenant_id=tenant.id, kind=Artifact.Kind.PARAMETERS, digest=PARAMETERS, size_bytes=400_000,
        status=Artifact.Status.VALID, tensors={"weight": {"shape": [10, 10], "dtype": "F32"}},
        errors={}, now=now,
    )  # fmt: skip
    jobs = [_job(tenant, number, size, now) for number in range(size.jobs)]
    # The newest wait to be admitted: the platform opens their rounds itself.
    ended = jobs[: max(1, size.jobs - OPEN_JOBS)]
    under_way = ended[-RUNNING_JOBS:] if size.jobs > 2 * OPEN_JOBS else []
    rounds = _save(
        Round, (one for job in ended for one in _rounds(job, draw, now, job in under_way))
    )
    _save(Assignment, _assignments(rounds, devices, draw))
    _save(Event, (event for one in rounds for event in _events(one)))
    _save(ModelVersion, map(_version, (one for one in rounds if one.outcome == "completed")))
    _finish([one for one in ended if one not in under_way], now)
    _save(Round, (_run(job, now) for job in under_way))
    _save(PoolMinute, _day(size.devices, shared, private, draw, now))
    usage.roll_up(now=now, since=min(one.opened_at for one in rounds).date())
    return Seeded(tenant, shared, private, jobs)


def _save(model: type[M], rows: Iterator[M]) -> list[M]:
    made = list(rows)
    model._default_manager.bulk_create(made, batch_size=BATCH)
    return made


def _devices(
    count: int, shared: Pool, private: Pool, draw: random.Random, now: datetime
) -> Iterator[Device]:
    for number in range(count):
        pool = shared if number < SHARED * count else private
        key = hashlib.sha256(f"{shared.name} {number}".encode()).hexdigest()
        yield Device(
            id=uuid7(),
            tenant_id=pool.tenant_id,
            pool=pool,
            name=f"seeded-{number:05}",
            public_key=key,
            sdk="propius 0.1.0",
            attributes={
                "memory_mb": draw.choice((2048, 4096, 8192, 16384)),
                "cpu_score": round(draw.lognormvariate(0, 0.6), 2),
                "os": draw.choice(SYSTEMS),
            },
            workloads={"handler": ["train"]},
            enrolled_at=now - timedelta(days=90),
            seen_at=now - timedelta(seconds=draw.randrange(10 * 86_400)),
        )


def _day(
    count: int, shared: Pool, private: Pool, draw: random.Random, now: datetime
) -> Iterator[PoolMinute]:
    """Make a day of a fleet that sleeps at night and is asked for more than there is at noon."""
    tenants = str(private.tenant_id), str(uuid7())
    for back in range(0, 24 * 60, 5):
        at = now.replace(second=0, microsecond=0) - timedelta(minutes=back)
        light = 0.5 - 0.5 * math.cos(2 * math.pi * (at.hour + at.minute / 60) / 24)
        for pool, part in ((shared, SHARED), (private, 1 - SHARED)):
            devices = round(count * part)
            online = round(devices * (0.2 + 0.5 * light) * draw.uniform(0.97, 1))
            mine = round(online * (0.15 + 0.25 * light) * draw.uniform(0.9, 1))
            others = round(online * 0.3 * draw.uniform(0.8, 1)) if pool is shared else 0
            wanted = round(online * max(0, light - 0.6) * draw.uniform(0.8, 1.6))
            yield PoolMinute(
                tenant_id=pool.tenant_id, pool=pool, at=at, devices=devices, online=online,
                bound=mine + others, wanted=wanted,
                by_tenant={tenants[0]: [mine, wanted], tenants[1]: [others, 0]},
            )  # fmt: skip


def _job(tenant: Tenant, number: int, size: Size, now: datetime) -> Job:
    return job_services.submit(
        tenant_id=tenant.id,
        raw={
            "schema": 1,
            "name": f"seeded-{number:03}",
            "workload": {"kind": "handler", "handler": "train", "dataset": "digits"},
            "parameters": PARAMETERS,
            "rounds": {"count": max(1, size.rounds // size.jobs), "demand": PER_ROUND},
        },
        submitted_by=f"member-{number % 7}",
        now=now - timedelta(hours=12 * (size.jobs - number)),
    )


def _rounds(
    job: Job, draw: random.Random, now: datetime, under_way: bool = False
) -> Iterator[Round]:
    count = int(job.spec["rounds"]["count"])
    at = job.submitted_at
    if under_way:
        count = _done(job)
        at = now - count * timedelta(seconds=230)
    # In order: pages sort rounds by id, which counts time by milliseconds only.
    ids = sorted(uuid7() for _ in range(count))
    for number in range(1, count + 1):
        took = timedelta(seconds=draw.uniform(60, 400))
        accuracy = 1 - 0.9 * math.exp(-4 * number / count) - draw.uniform(0, 0.03)
        outcome = "failed" if draw.random() < 0.03 and number < count else "completed"
        yield Round(
            id=ids[number - 1], tenant_id=job.tenant_id, job=job, number=number, kind="train",
            status="finished", outcome=outcome, demand=PER_ROUND, target=PER_ROUND,
            quorum=PER_ROUND, assigned=PER_ROUND, reported=PER_ROUND, base_version=number - 1,
            reason={} if outcome == "completed" else {"code": "too_few_reports", "message": "–"},
            base_digest=PARAMETERS, base_size=400_000, seed=number, selection_s=60, deadline_s=600,
            metrics={"loss": 2.3 * (1 - accuracy), "accuracy": accuracy}, opened_at=at,
            selection_ends_at=at + took, executing_at=at + took / 5, closed_at=at + took,
            finished_at=at + took,
        )  # fmt: skip
        at = min(at + took, now)


def _assignments(
    rounds: list[Round], devices: list[Device], draw: random.Random
) -> Iterator[Assignment]:
    for one in rounds:
        for device in draw.sample(devices, min(PER_ROUND, len(devices))):
            yield Assignment(
                id=uuid7(), tenant_id=one.tenant_id, job_id=one.job_id, round=one, device=device,
                status="reported", bound_at=one.opened_at, accepted_at=one.opened_at,
                lease_expires_at=one.opened_at, ended_at=one.closed_at,
            )  # fmt: skip


def _events(one: Round) -> Iterator[Event]:
    for kind, at in (("opened", one.opened_at), (one.outcome, one.finished_at or one.opened_at)):
        yield Event(
            tenant_id=one.tenant_id, job_id=one.job_id, round_id=one.id, kind=f"round.{kind}",
            data={"number": one.number, "attempt": one.attempt, "round_kind": one.kind}, at=at,
        )  # fmt: skip


def _version(one: Round) -> ModelVersion:
    return ModelVersion(
        tenant_id=one.tenant_id, job_id=one.job_id, round=one, number=one.number,
        digest=PARAMETERS, size_bytes=400_000, reports=one.reported, metrics=one.metrics,
        created_at=one.opened_at, released_at=one.closed_at,
    )  # fmt: skip


def _done(job: Job) -> int:
    return math.ceil(0.6 * int(job.spec["rounds"]["count"]))


def _run(job: Job, now: datetime) -> Round:
    """Have a job run, and return its open round."""
    job.status, job.version, job.started_at = Job.Status.RUNNING, _done(job), job.submitted_at
    job.save(update_fields=["status", "version", "started_at"])
    return Round(
        id=uuid7(), tenant_id=job.tenant_id, job=job, number=job.version + 1, kind="train",
        demand=PER_ROUND, target=PER_ROUND, quorum=PER_ROUND, base_version=job.version,
        base_digest=PARAMETERS, base_size=400_000, seed=1, selection_s=86_400, deadline_s=600,
        opened_at=now, selection_ends_at=now + timedelta(days=1),
    )  # fmt: skip


def _finish(jobs: list[Job], now: datetime) -> None:
    for job in jobs:
        job.status, job.outcome = Job.Status.FINISHED, Job.Outcome.COMPLETED
        job.version = int(job.spec["rounds"]["count"])
        job.started_at, job.finished_at = job.submitted_at, min(now, job.submitted_at)
    Job.objects.bulk_update(
        jobs, ["status", "outcome", "version", "started_at", "finished_at"], batch_size=500
    )
