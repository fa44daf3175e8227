"""Real scheduling workers: changes are in force within a second, and one may be lost."""

import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from jobs import services as job_services
from jobs.models import Assignment, Round
from propius_site.process_set import Platform
from scheduling import keys, selectors, services
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.scheduling.plans import open_slots
from tests.integration.scheduling.test_planning import Fleet, choose

SLACK_S = 1.0
"""Of a machine that runs other things too."""
BASE_DIR = Path(__file__).resolve().parent.parent.parent.parent


def log_of(number: int) -> Path:
    return settings.PROPIUS_HOME / "logs" / f"test-worker-{number}.log"


def process(name: str, number: int) -> subprocess.Popen[bytes]:
    database = connection.settings_dict
    environment = os.environ | {
        "PROPIUS_DB_ROLE": "system",
        "PROPIUS_DATABASE_URL_SYSTEM": (
            f"postgresql://propius_system@/{database['NAME']}?host={database['HOST']}"
        ),
    }
    with log_of(number).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "propius_site.work", name],
            cwd=BASE_DIR, env=environment, stdout=log, stderr=log,
        )  # fmt: skip


def until(ask, *, timeout_s: float) -> float:
    """Return after how long ``ask`` was true."""
    began = time.monotonic()
    while not ask():
        if time.monotonic() - began > timeout_s:
            raise AssertionError(f"not within {timeout_s} s")
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture
def workers(redis, transactional_db):
    names = ["scheduling", "scheduling", "beat"]
    running = [process(name, number) for number, name in enumerate(names)]
    try:
        until(lambda: all(b" ready." in log_of(n).read_bytes() for n in (0, 1)), timeout_s=60)
        until(lambda: selectors.plan_state() is not None, timeout_s=60)
        yield running
    finally:
        for one in running:
            one.kill()
            one.wait()


def bind_two(fleet):
    """Bind two devices as a gateway does, now, so that their leases run."""
    granted = fleet.ask([fleet.device() for _ in range(2)])
    bindings = [
        job_services.Binding(
            UUID(asked.assignment_id), UUID(answer.round_id), UUID(asked.device_id),
            answer.plan_version,
        )
        for asked, answer in granted
    ]  # fmt: skip
    outcomes = job_services.assign(bindings=bindings, now=timezone.now())
    fleet.settle(granted, outcomes)
    return sorted(outcomes)


def held():
    with system_scope():
        rows = Assignment.objects.filter(status=Assignment.Status.BOUND)
        return sorted(rows.values_list("id", flat=True))


def slots(redis, round_):
    return open_slots(redis).get(str(round_.id), 0)


@pytest.mark.django_db(transaction=True)
def test_a_change_is_in_force_within_a_second_and_a_lost_worker_is_made_up_for(workers, redis):
    with system_scope():
        fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
        job = factories.job(factories.tenant(), now=timezone.now(), rounds__selection_s=600)
        round_ = factories.open_round(job)
    fleet.register()
    until(lambda: slots(redis, round_) == 6, timeout_s=30)
    with system_scope():
        bound = bind_two(fleet)

    with system_scope():
        choose(policy="fifo")
    in_force_s = until(lambda: selectors.plan_state().policy == "fifo", timeout_s=30)
    with system_scope():
        services.set_share(
            tenant_id=job.tenant_id, weight=2, guarantee=0, ceiling=3, author="op",
            reason="test", now=timezone.now(),
        )  # fmt: skip
    room = f"{keys.P}plan:room"
    in_force_s = max(
        in_force_s, until(lambda: redis.hget(room, str(job.tenant_id)) == b"1", timeout_s=30)
    )
    assert in_force_s <= 1 + SLACK_S
    assert held() == bound

    # One worker dies without a word; what is given back is offered again all the same.
    workers[0].kill()
    workers[0].wait()
    with system_scope():
        gone = Assignment.objects.get(id=bound[0])
        job_services.give_back(
            assignment_id=gone.id, device_id=gone.device_id, status="declined", code="busy",
            message="", now=timezone.now(),
        )  # fmt: skip
    assert until(lambda: slots(redis, round_) == 5, timeout_s=30) <= 5
    redis.flushall()
    assert until(lambda: slots(redis, round_) == 5, timeout_s=30) <= 5
    assert held() == bound[1:]
    with system_scope():
        assert Round.objects.get(id=round_.id).assigned == 1


def test_a_second_worker_is_an_option_of_up():
    usual, spare = (Platform(print, standby=standby).apps for standby in (False, True))
    assert [one.name for one in spare if one not in usual] == ["worker-scheduling-2"]
