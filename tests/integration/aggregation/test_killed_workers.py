"""200 folds by the real worker while its children are killed give the bits of 200 undisturbed."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from aggregation import artifacts, blobs, services
from aggregation.models import Batch, Partial
from clients.models import Device
from core import knobs
from core.ids import uuid7
from jobs import services as job_services
from jobs.models import Job, Round
from propius import arrays
from tenants.scopes import scope, system_scope
from tests.integration import factories

BASE_DIR = Path(__file__).resolve().parent.parent.parent.parent
FOLDS, BATCH, KILLS = 200, 2, 10
UPDATES = FOLDS * BATCH
SHAPE = (64, 65)


@pytest.fixture
def workers(redis, transactional_db, monkeypatch, tmp_path):
    """A real worker and the beat that finds what it lost; yields the worker's process."""
    monkeypatch.setenv("PROPIUS_FOLD_CLAIM_S", "0.5")
    monkeypatch.setenv("PROPIUS_FOLD_BATCH", str(BATCH))
    knobs.get.cache_clear()
    database = connection.settings_dict
    environment = os.environ | {
        "PROPIUS_HOME": str(tmp_path),
        "PROPIUS_DB_ROLE": "system",
        "PROPIUS_DATABASE_URL_SYSTEM": (
            f"postgresql://propius_system@/{database['NAME']}?host={database['HOST']}"
        ),
        "REDIS_URL": settings.REDIS_URL,
    }
    (tmp_path / "run").mkdir()
    running = []
    try:
        for name in ("aggregation", "beat"):
            with (tmp_path / f"{name}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "propius_site.work", name],
                        cwd=BASE_DIR, env=environment, stdout=log, stderr=log,
                    )
                )  # fmt: skip
        until(lambda: b" ready." in (tmp_path / "aggregation.log").read_bytes())
        yield running[0]
    finally:
        for one in running:
            one.kill()
            one.wait()


def until(ask, *, timeout_s=150.0):
    end = time.monotonic() + timeout_s
    while not (found := ask()):
        assert time.monotonic() < end, f"not within {timeout_s} s"
        time.sleep(0.01)
    return found


def make_job(tenant, devices):
    """A job of one round of so many devices, all bound."""
    base = arrays.save({"weight": np.zeros(SHAPE, np.float32)})
    now = timezone.now()
    with scope(tenant.id):
        stored = artifacts.store_parameters(tenant_id=tenant.id, stream=[base], now=now)
    raw = factories.spec(parameters=stored.digest, rounds__count=1, rounds__demand=UPDATES)
    with system_scope():
        job = job_services.submit(tenant_id=tenant.id, raw=raw, submitted_by="test", now=now)
        job_services.admit(job_id=job.id, numbers={}, now=now)
        round_ = Round.objects.get(job=job)
        bindings = [job_services.Binding(uuid7(), round_.id, one.id, 1) for one in devices]
        job_services.assign(bindings=bindings, now=now)
    return round_, [one.assignment_id for one in bindings]


def make_update(number):
    """Make values and a weight whose sums depend on the order in which they are added."""
    drawn = np.random.default_rng(number)
    values = (drawn.standard_normal(SHAPE) * 10.0 ** drawn.integers(-3, 4)).astype(np.float32)
    return arrays.save({"weight": values}), float(drawn.uniform(0.1, 50))


def deliver(assignments, devices, updates):
    """Accept updates in order, whose bytes are there."""
    with system_scope():
        for assignment, device, (digest, size_bytes, weight) in zip(
            assignments, devices, updates, strict=True
        ):
            services.accept_update(
                assignment_id=assignment, device_id=device.id, digest=digest,
                size_bytes=size_bytes, weight=weight, metrics={"loss": 0.1}, now=timezone.now(),
            )  # fmt: skip


def deliver_all(*given):
    try:
        deliver(*given)
    finally:
        connection.close()


def store_updates():
    """Keep all updates in the store; returns the digest, size and weight of each."""
    kept = []
    for number in range(UPDATES):
        data, weight = make_update(number)
        with blobs.store().writer() as writer:
            writer.write(memoryview(data))
            kept.append((writer.commit(), len(data), weight))
    return kept


def children(process):
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(one) for one in found.split()]


def kill_at_work(process, round_, after):
    """Kill the worker's children in the midst of a fold, after so many; False if all are done.

    They are stopped first, so that the batch in hand is known to be unfinished. A batch that has
    ended one of them before is let through: three deaths would rightly fail the round.
    """

    def try_it():
        with system_scope():
            done = Batch.objects.filter(round=round_, done_at__isnull=False).count()
            left = Batch.objects.filter(round=round_, done_at=None)
            if done == FOLDS:
                return "over"
            if done < after or left.filter(failures__gt=0).exists():
                return None
        stopped = children(process)
        for one in stopped:
            os.kill(one, signal.SIGSTOP)
        with system_scope():
            at_work = left.filter(token__isnull=False).exists()
        for one in stopped:
            os.kill(one, signal.SIGKILL if at_work else signal.SIGCONT)
        return "killed" if at_work else None

    return until(try_it) == "killed"


def outcome(round_):
    """Return the digests of every partial and of the model, once the round is over."""

    def finished():
        with system_scope():
            return Round.objects.get(id=round_.id).outcome

    assert until(finished) == "completed"
    with system_scope():
        rows = Partial.objects.filter(round=round_).order_by("number")
        partials = list(rows.values_list("number", "count", "digest"))
        return partials, Job.objects.get(id=round_.job_id).parameters_digest


@pytest.mark.django_db(transaction=True)
def test_killing_workers_during_200_folds_gives_the_same_bits_as_no_kills(workers):
    tenant, pool = factories.tenant(), factories.pool()
    with system_scope():
        devices = Device.objects.bulk_create(
            Device(
                pool=pool, name=f"d{number}", public_key=f"{number:064x}", attributes={},
                workloads={"handler": ["train"]}, enrolled_at=timezone.now(),
            )
            for number in range(UPDATES)
        )  # fmt: skip
    updates = store_updates()
    undisturbed, assignments = make_job(tenant, devices)
    deliver(assignments, devices, updates)
    expected = outcome(undisturbed)
    assert [one for one, _, _ in expected[0]] == list(range(FOLDS))
    assert {count for _, count, _ in expected[0]} == {BATCH}

    disturbed, assignments = make_job(tenant, devices)
    delivery = threading.Thread(target=deliver_all, args=(assignments, devices, updates))
    delivery.start()
    moments = sorted(random.Random(4).sample(range(FOLDS - 10), KILLS))
    kills = [kill_at_work(workers, disturbed, after) for after in moments]
    delivery.join()
    assert outcome(disturbed) == expected
    with system_scope():
        rows = Batch.objects.filter(round=disturbed)
        assert not rows.filter(done_at=None).exists()
        assert any(kills)
        # A commit that was on its way as its worker died may still have counted.
        assert 1 <= rows.aggregate(died=Sum("failures"))["died"] <= 2 * len(kills)
