"""A gateway that ends in mid-round: its devices come back spread out, and nothing is lost."""

import os
import re
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.fleet import Fleet
from tests.e2e.running import RunningPlatform, wait_until

DEVICES = 10
TOLD = re.compile(r"session\.retry code=draining .*after_s=([0-9.]+) device=(\S+)")

ASK = """
from django.utils import timezone
from scheduling import services, supply
from tenants.scopes import system_scope
with system_scope():
    for gateway in supply.gateways():
        services.drain_gateway(gateway=gateway, author="op", reason="test", now=timezone.now())
"""


@pytest.fixture
def fleet(platform: RunningPlatform, tmp_path, request) -> Iterator[Fleet]:
    slug = f"drained-{request.node.callspec.indices['ask']}"
    fleet = Fleet(platform, tmp_path, slug=slug, count=DEVICES)
    try:
        yield fleet.start()
    finally:
        fleet.stop()


def by_signal(platform: RunningPlatform) -> None:
    os.kill(platform.pid("gateway"), signal.SIGTERM)


def by_the_operator(platform: RunningPlatform) -> None:
    platform.manage("shell", "-c", ASK)


@pytest.mark.parametrize("ask", [by_signal, by_the_operator])
def test_a_gateway_that_ends_in_mid_round_loses_nothing(platform, fleet, ask):
    job = fleet.submit(rounds=2, demand=6, seconds=5)
    wait_until_all_are_at_work(fleet, job)
    stopped = platform.pid("gateway")
    ask(platform)
    platform.wait_back("gateway", stopped)
    ended = fleet.client.wait(job, timeout_s=150, every_s=0.4)
    assert ended["outcome"] == "completed", ended["waiting"]
    told = {device: wait for wait, device in TOLD.findall(fleet.log_of_devices())}
    assert len(told) >= 6  # all who were at work
    assert len(set(told.values())) > 1  # and not all of them at one time
    statuses = {status for (status,) in fleet.rows(
        "SELECT DISTINCT status FROM jobs_assignment WHERE job_id = %s", job
    )}  # fmt: skip
    assert statuses <= {"reported", "cancelled"}  # cut off: more than were needed
    attempts = fleet.rows("SELECT max(attempt) FROM jobs_round WHERE job_id = %s", job)
    assert attempts == [(1,)]


def wait_until_all_are_at_work(fleet: Fleet, job: str) -> None:
    """Wait until every device of the first round has accepted: all of their leases are long."""
    query = """
        SELECT r.target, count(*) FROM jobs_round r JOIN jobs_assignment a ON a.round_id = r.id
        WHERE r.job_id = %s AND a.status = 'bound' AND a.accepted_at IS NOT NULL GROUP BY r.id
    """
    wait_until(
        lambda: any(target == count for target, count in fleet.rows(query, job)),
        lambda: f"the round was never full\n{fleet.log()}",
    )
