"""A real leaf beside the real platform: rounds go by way of it, also when either one dies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.e2e.fleet import Fleet
from tests.e2e.leaf import RunningLeaf
from tests.e2e.running import RunningPlatform, wait_until

DEMAND = 6


@pytest.fixture(scope="module")
def fleet(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(platform, tmp_path_factory.mktemp("leaves"), slug="leaves", count=DEMAND)
    try:
        yield fleet.start()
    finally:
        fleet.stop()


@pytest.fixture(scope="module")
def leaf(
    platform: RunningPlatform, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningLeaf]:
    one = RunningLeaf(
        platform, tmp_path_factory.mktemp("leaf") / "home", name="attic", pool=fleet.pool
    )
    try:
        yield one.start()
    finally:
        one.stop()


@pytest.fixture(autouse=True)
def shown(leaf: RunningLeaf) -> Iterator[None]:
    yield
    print(leaf.text()[-4000:])


def by_leaf(fleet: Fleet, job: str) -> tuple[int, int]:
    """How many updates of a job count, and how many of them the root never had the bytes of."""
    [(count, raw)] = fleet.rows(
        "SELECT count(*), count(b.digest) FROM aggregation_update u"
        " JOIN jobs_round r ON r.id = u.round_id"
        # Device 0 adds nothing: its update is the version that it began from.
        " LEFT JOIN aggregation_blob b ON b.digest = u.digest AND b.tenant_id = u.tenant_id"
        " AND u.digest != r.base_digest"
        " WHERE r.job_id = %s",
        job,
    )
    return count, count - raw


def check_versions(
    fleet: Fleet, job: str, rounds: int, folder: object, *, start: float = 0.0
) -> None:
    """Every version is the weighted mean of exactly the updates that its round counted."""
    before = np.full(8, start, dtype=np.float64)
    for number in range(1, rounds + 1):
        updates = fleet.rows(
            "SELECT d.name, u.weight, u.partial_id IS NOT NULL FROM aggregation_update u"
            " JOIN jobs_assignment a ON a.id = u.assignment_id"
            " JOIN clients_device d ON d.id = a.device_id JOIN jobs_round r ON r.id = u.round_id"
            " WHERE r.job_id = %s AND r.number = %s AND r.outcome = 'completed'",
            job, number,
        )  # fmt: skip
        assert len(updates) >= DEMAND - 1
        assert all(folded for *_, folded in updates)
        indices = np.array([int(name.rsplit("-", 1)[1]) for name, *_ in updates])
        weights = np.array([weight for _, weight, _ in updates])
        path = fleet.client.download(job, number, folder / f"{number}.safetensors")
        after = load_file(path)["weight"].astype(np.float64)
        np.testing.assert_allclose(
            after - before, (weights * indices).sum() / weights.sum(), atol=1e-4
        )
        before = after


def finish(fleet: Fleet, job: str) -> None:
    ended = fleet.client.wait(job, timeout_s=150, every_s=0.4)
    assert ended["outcome"] == "completed", ended["waiting"]


def test_rounds_go_by_way_of_the_leaf(fleet, leaf, tmp_path):
    # The gateway looks for leaves every two seconds: a round that is quicker goes past a new one.
    # Each try has updates of its own, lest the root have their bytes from the try before.
    for start in (0.0, 100.0, 200.0):
        job = fleet.submit(rounds=3, demand=DEMAND, seconds=0.1, start=start)
        finish(fleet, job)
        if (found := by_leaf(fleet, job)) == (3 * DEMAND, 3 * DEMAND):
            break
    assert found == (3 * DEMAND, 3 * DEMAND)
    partials = fleet.rows(
        "SELECT p.count FROM aggregation_partial p JOIN jobs_round r ON r.id = p.round_id"
        " WHERE r.job_id = %s",
        job,
    )
    assert partials == [(DEMAND,)] * 3
    check_versions(fleet, job, 3, tmp_path, start=start)
    wait_until(lambda: not list((leaf.folder / "held").glob("*.json")), fleet.log)


def test_updates_themselves_are_forwarded_where_sums_do_not_do(fleet, tmp_path):
    job = fleet.submit(rounds=1, demand=DEMAND, seconds=0.1, strategy={"name": "median"})
    finish(fleet, job)
    assert by_leaf(fleet, job) == (DEMAND, 1)
    path = fleet.client.download(job, 1, tmp_path / "1.safetensors")
    np.testing.assert_allclose(load_file(path)["weight"], 2.5)


def test_a_leaf_killed_in_mid_round_loses_nothing(fleet, leaf, tmp_path):
    # One device is slower: the round still runs when the others' updates are at the leaf.
    job = fleet.submit(rounds=2, demand=DEMAND, seconds=0.3)
    wait_until(lambda: held(fleet, job), fleet.log)
    leaf.kill()
    leaf.start()
    finish(fleet, job)
    count, _ = by_leaf(fleet, job)
    assert count >= 2 * (DEMAND - 1)
    check_versions(fleet, job, 2, tmp_path)


def test_the_roots_web_process_killed_under_the_leaf_loses_nothing(platform, fleet, leaf, tmp_path):
    job = fleet.submit(rounds=2, demand=DEMAND, seconds=0.3)
    wait_until(lambda: held(fleet, job), fleet.log)
    killed = platform.kill("web")
    platform.wait_back("web", killed)
    finish(fleet, job)
    check_versions(fleet, job, 2, tmp_path)


def test_devices_fall_back_to_the_gateway_when_their_leaf_is_down(fleet, leaf, tmp_path):
    leaf.kill()
    job = fleet.submit(rounds=1, demand=DEMAND, seconds=0.1)
    finish(fleet, job)
    assert by_leaf(fleet, job) == (DEMAND, 1)
    check_versions(fleet, job, 1, tmp_path)


def held(fleet: Fleet, job: str) -> bool:
    rows = "SELECT 1 FROM aggregation_hold h JOIN jobs_round r ON r.id = h.round_id"
    return bool(fleet.rows(f"{rows} WHERE r.job_id = %s LIMIT 1", job))
