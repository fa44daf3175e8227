"""Each process is killed in mid-round, and Valkey is wiped: every job still completes exactly.

Devices send numbers whose weighted mean can be computed from the accepted updates' rows. A lost
or doubled update would show in the model itself.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from safetensors.numpy import load_file

from propius_site.supervision import Supervisor
from tests.e2e.fleet import Fleet
from tests.e2e.running import RunningPlatform

ROUNDS, DEMAND = 5, 6
PROGRAMS = [
    "web", "gateway", "worker-scheduling", "worker-aggregation", "worker-batch", "beat", "valkey",
    "postgres",
]  # fmt: skip

AWAY_S = float(os.environ.get("E2E_POSTGRES_AWAY_S", "12"))
"""Longer than a process waits for a connection (10 s); E2E_POSTGRES_AWAY_S=30 is the long form."""


@pytest.fixture(scope="module")
def fleet(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(platform, tmp_path_factory.mktemp("faults"), slug="faults", count=10)
    try:
        yield fleet.start()
    finally:
        fleet.stop()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_job_survives_the_death_of(platform, fleet, tmp_path, program):
    job = fleet.submit(rounds=ROUNDS, demand=DEMAND)
    fleet.wait_for_round(job, number=2)
    killed = platform.kill(program)
    platform.wait_back(program, killed)
    ended = fleet.client.wait(job, timeout_s=180, every_s=0.4)
    assert ended["outcome"] == "completed", ended["waiting"]
    check_exactly_once(fleet, job, tmp_path)


def test_a_job_survives_an_emptied_valkey(platform, fleet, tmp_path):
    job = fleet.submit(rounds=ROUNDS, demand=DEMAND)
    fleet.wait_for_round(job, number=2)
    with redis.Redis.from_url(f"unix://{platform.paths.valkey_socket}") as client:
        client.flushall()
    ended = fleet.client.wait(job, timeout_s=180, every_s=0.4)
    assert ended["outcome"] == "completed", ended["waiting"]
    check_exactly_once(fleet, job, tmp_path)


def test_a_job_survives_a_postgres_that_is_away_for_longer_than_anyone_waits(
    platform, fleet, tmp_path
):
    """Stopped and started again by hand: nothing restarts it, every wait for it ends in vain."""
    job = fleet.submit(rounds=ROUNDS, demand=DEMAND)
    fleet.wait_for_round(job, number=2)
    others = [name for name in PROGRAMS if name not in ("postgres", "valkey")]
    before = {name: platform.pid(name) for name in others}
    supervisor = Supervisor(platform.paths)
    supervisor.stop(["postgres"])
    time.sleep(AWAY_S)
    supervisor.launch("postgres")
    platform.wait_ready(timeout_s=30)
    ended = fleet.client.wait(job, timeout_s=180, every_s=0.4)
    assert ended["outcome"] == "completed", ended["waiting"]
    check_exactly_once(fleet, job, tmp_path)
    assert {name: platform.pid(name) for name in others} == before


def check_exactly_once(fleet: Fleet, job: str, folder: Path) -> None:
    """Rows agree with each other, slots with rows, and every model version with its updates."""
    rounds = fleet.rows(
        "SELECT id, number, target, assigned, reported FROM jobs_round"
        " WHERE job_id = %s AND outcome = 'completed' ORDER BY number",
        job,
    )
    assert [number for _, number, *_ in rounds] == list(range(1, ROUNDS + 1))
    before = np.zeros(8, dtype=np.float64)
    for round_id, number, target, assigned, reported in rounds:
        held = dict(
            fleet.rows(
                "SELECT status, count(*) FROM jobs_assignment WHERE round_id = %s GROUP BY status",
                round_id,
            )
        )
        # A slot is held by who reported, or by who was cut off when the round closed.
        assert assigned == held["reported"] + held.get("cancelled", 0) <= target
        assert "bound" not in held
        updates = fleet.rows(
            "SELECT d.name, u.weight, u.partial_id IS NOT NULL FROM aggregation_update u"
            " JOIN jobs_assignment a ON a.id = u.assignment_id"
            " JOIN clients_device d ON d.id = a.device_id WHERE u.round_id = %s",
            round_id,
        )
        assert reported == held["reported"] == len(updates) >= DEMAND - 1
        assert all(folded for *_, folded in updates)
        [(folded,)] = fleet.rows(
            "SELECT sum(count) FROM aggregation_partial WHERE round_id = %s", round_id
        )
        assert folded == reported
        indices = np.array([int(name.rsplit("-", 1)[1]) for name, *_ in updates])
        weights = np.array([weight for _, weight, _ in updates])
        assert (weights == indices % 3 + 1).all()
        path = fleet.client.download(job, number, folder / f"{number}.safetensors")
        after = load_file(path)["weight"].astype(np.float64)
        np.testing.assert_allclose(
            after - before, (weights * indices).sum() / weights.sum(), atol=1e-4
        )
        before = after
    [(still_bound,)] = fleet.rows(
        "SELECT count(*) FROM jobs_assignment WHERE job_id = %s AND status = 'bound'", job
    )
    assert still_bound == 0
