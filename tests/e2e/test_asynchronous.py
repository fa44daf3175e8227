"""FedBuff on the whole platform: steps while devices work, and a worker that is killed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.e2e.fleet import Fleet
from tests.e2e.running import RunningPlatform

STEPS, BUFFER, AT_WORK = 6, 5, 8


@pytest.fixture(scope="module")
def fleet(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(platform, tmp_path_factory.mktemp("buffers"), slug="buffers", count=10)
    try:
        yield fleet.start()
    finally:
        fleet.stop()


def test_an_asynchronous_job_survives_its_worker_and_every_step_adds_up(
    platform, fleet: Fleet, tmp_path: Path
) -> None:
    job = fleet.submit(
        rounds=STEPS, demand=AT_WORK,
        strategy={"name": "fedbuff", "buffer_size": BUFFER, "staleness_exponent": 1.0},
    )  # fmt: skip
    fleet.wait_for_round(job, number=2)
    killed = platform.kill("worker-aggregation")
    platform.wait_back("worker-aggregation", killed)
    ended = fleet.client.wait(job, timeout_s=180, every_s=0.4)
    assert ended["outcome"] == "completed", ended
    check_steps(fleet, job, tmp_path)


def check_steps(fleet: Fleet, job: str, folder: Path) -> None:
    """Compute every version again from the updates' rows: who, from which version, how many."""
    before = 0.0
    for step in range(1, STEPS + 1):
        rows = fleet.rows(
            "SELECT d.name, u.weight, a.base_version, r.base_version, r.reported"
            " FROM aggregation_update u JOIN jobs_assignment a ON a.id = u.assignment_id"
            " JOIN clients_device d ON d.id = a.device_id JOIN jobs_round r ON r.id = u.round_id"
            " JOIN aggregation_modelversion v ON v.round_id = r.id"
            " WHERE v.job_id = %s AND v.number = %s AND u.partial_id IS NOT NULL",
            job, step,
        )  # fmt: skip
        assert len({name for name, *_ in rows}) == len(rows) == BUFFER
        assert {reported for *_, reported in rows} == {BUFFER}
        total = 0.0
        for name, weight, began, newest, _ in rows:
            assert newest == step - 1
            assert began <= newest
            total += weight * int(name.rsplit("-", 1)[1]) / (1 + newest - began)
        after = before + total / sum(weight for _, weight, *_ in rows)
        path = fleet.client.download(job, step, folder / f"{step}.safetensors")
        np.testing.assert_allclose(load_file(path)["weight"], after, atol=1e-4)
        before = after
