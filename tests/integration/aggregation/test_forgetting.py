"""Who took part long ago is forgotten; what it adds up to stays."""

from datetime import timedelta

import pytest

from aggregation import forgetting, usage
from aggregation.models import Batch, ModelVersion, Partial, Update, UsageDay
from core import knobs
from core.ids import uuid7
from jobs.models import Assignment, Job, Round
from propius import manifest as sdk
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.aggregation.test_manifests import ask, train
from tests.integration.aggregation.worlds import make_world
from tests.integration.factories import NOW

__all__ = ["ask"]
ROWS = (Assignment, Update, Partial, Batch)


@pytest.fixture
def world():
    """A job that has finished after one round; a device failed in it."""
    world = make_world()
    round_, _ = train(world)
    with system_scope():
        Assignment.objects.create(
            tenant=world.tenant, job=world.job, round=round_,
            device=factories.device(world.devices[0].pool), status="failed",
            code="training_failed", bound_at=NOW, ended_at=NOW, lease_expires_at=NOW,
        )  # fmt: skip
        Round.objects.exclude(id=round_.id).delete()
        Round.objects.update(closed_at=NOW, finished_at=NOW)
        Job.objects.update(status="finished", outcome="completed", finished_at=NOW)
    return world


def forget(after):
    with system_scope():
        return forgetting.forget(now=NOW + after)


def count():
    with system_scope():
        return [rows.objects.count() for rows in ROWS]


def used():
    with system_scope():
        usage.roll_up(now=NOW + timedelta(days=100))
        fields = ("day", "assignments", "reported", "device_seconds", "down_bytes", "up_bytes")
        return list(UsageDay.objects.values_list(*fields))


def test_rows_of_a_job_that_finished_long_ago_go_and_what_they_add_up_to_stays(world, ask):
    before, told = used(), sdk.convert(ask(world).json()).rounds[0]
    assert (len(told.cohort), len(told.batches), told.forgotten) == (6, 3, False)
    assert forget(timedelta(days=91)) == 1
    assert count() == [0, 0, 0, 0]
    with system_scope():
        round_ = Round.objects.get()
        assert round_.endings == [["reported", "", 6], ["failed", "training_failed", 1]]
        assert (round_.reported, ModelVersion.objects.filter(round=round_).count()) == (6, 1)
    assert used() == before != []
    after = sdk.convert(ask(world).json()).rounds[0]
    assert (after.cohort, after.batches, after.forgotten) == ([], [], True)
    assert (after.version.digest, after.metrics) == (told.version.digest, told.metrics)


def test_it_is_done_once(world):
    assert forget(timedelta(days=91)) == 1
    assert forget(timedelta(days=91)) == 0


def test_nothing_goes_before_its_time(world):
    kept = count()
    assert forget(timedelta(days=89)) == 0
    assert count() == kept == [7, 6, 3, 3]


def test_nothing_goes_of_a_job_that_is_not_finished(world):
    with system_scope():
        Job.objects.update(status="running", outcome="", finished_at=None)
    assert forget(timedelta(days=91)) == 0
    assert count()[0] == 7


def test_use_that_is_still_counted_from_the_rows_keeps_them(world, monkeypatch):
    monkeypatch.setenv("PROPIUS_ASSIGNMENT_DAYS", "0.5")
    knobs.get.cache_clear()
    assert forget(timedelta(days=1.5)) == 0
    assert forget(timedelta(days=2.5)) == 1
    knobs.get.cache_clear()


def test_a_long_past_is_forgotten_in_steps(world, monkeypatch):
    monkeypatch.setattr(forgetting, "AT_MOST", 2)
    monkeypatch.setattr(forgetting, "AT_ONCE", 1)
    with system_scope():
        one = Round.objects.get()
        for number in (2, 3):
            one.id, one.number = uuid7(), number
            one.save(force_insert=True)
    assert [forget(timedelta(days=91)) for _ in range(3)] == [2, 1, 0]
