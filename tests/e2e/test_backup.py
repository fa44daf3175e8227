"""A backup taken while a job runs, restored into an empty platform, where the job goes on."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from propius.http_errors import ApiError
from tests.e2e.fleet import Fleet
from tests.e2e.running import RunningPlatform
from tests.e2e.test_faults import DEMAND, ROUNDS, check_exactly_once


@pytest.fixture
def fleet(platform: RunningPlatform, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(platform, tmp_path, slug="kept", count=8)
    try:
        yield fleet.start()
    finally:
        fleet.stop()


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform that is not started: its database is empty."""
    running = RunningPlatform(tmp_path_factory.mktemp("other") / "home")
    yield running
    if running.process and running.process.poll() is None:
        running.stop()
    running.remove()


def test_a_restored_platform_finishes_the_jobs_that_ran(platform, fleet, other, tmp_path):
    job = fleet.submit(rounds=ROUNDS, demand=DEMAND)
    fleet.wait_for_round(job, number=2)
    platform.manage("backup", str(tmp_path / "backups"))
    with suppress(ApiError):  # a quick one has ended meanwhile; in the backup it had not
        fleet.client.cancel(job)
    fleet.stop()
    again = platform.manage("backup", str(tmp_path / "backups"))
    assert "were there from earlier backups" in again
    first, second = sorted((tmp_path / "backups").glob("20*"))

    said = other.manage("restore", str(first))
    assert "Restored" in said
    with pytest.raises(AssertionError, match="this platform has"):
        other.manage("restore", str(second))
    other.start()
    fleet.move_to(other)
    fleet.start()
    ended = fleet.client.wait(job, timeout_s=180, every_s=0.4)
    assert ended["outcome"] == "completed", ended["waiting"]
    check_exactly_once(fleet, job, tmp_path)


def test_what_is_no_whole_backup_is_refused_and_nothing_started(other, tmp_path):
    with pytest.raises(AssertionError, match="is no whole backup"):
        other.manage("restore", str(tmp_path))
    manifest = {"format": 9, "taken_at": "", "tenants": 0, "migrations": 0, "blobs": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(AssertionError, match="has format 9; this version reads 1"):
        other.manage("restore", str(tmp_path))
    (tmp_path / "manifest.json").write_text(
        json.dumps(manifest | {"format": 1, "blobs": {"ab" * 32: 1}})
    )
    with pytest.raises(AssertionError, match="lacks 1 blobs of this backup"):
        other.manage("restore", str(tmp_path))
    assert not other.paths.pgdata.exists()
