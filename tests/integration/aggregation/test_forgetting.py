"""Who took part long ago is forgotten; what it adds up to stays."""

from datetime import timedelta

import pytest

from aggregation import forgetting, usage
from aggregation.models import Batch, ModelVersion, Partial, Update, UsageDay
from core.ids import uuid7
from jobs import metrics
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
    """A job that has finished after one round, in which a device failed; another job goes on."""
    world = make_world()
    round_, _ = train(world)
    with system_scope():
        fail(round_, world.devices[0].pool)
        Round.objects.exclude(id=round_.id).delete()
        Round.objects.update(closed_at=NOW, finished_at=NOW)
        Job.objects.update(status="finished", outcome="completed", finished_at=NOW)
    return world


def fail(round_, pool):
    Assignment.objects.create(
        tenant_id=round_.tenant_id, job_id=round_.job_id, round=round_,
        device=factories.device(pool), status="failed", code="training_failed", bound_at=NOW,
        ended_at=NOW, lease_expires_at=NOW,
    )  # fmt: skip


def work(world, day):
    """Let another job, that goes on, have a round on a later day."""
    later = factories.open_round(factories.job(world.tenant, name=f"day {day}"))
    with system_scope():
        fail(later, world.devices[0].pool)
        at = NOW + timedelta(days=day)
        Round.objects.filter(id=later.id).update(
            status="finished", outcome="failed", closed_at=at, finished_at=at
        )


def forget(day):
    """Count the use of all days, then forget."""
    with system_scope():
        usage.roll_up(now=NOW + timedelta(days=day))
        return forgetting.forget(now=NOW + timedelta(days=day))


def count(world):
    with system_scope():
        return [rows.objects.filter(round__job=world.job).count() for rows in ROWS]


def used(world):
    fields = ("day", "assignments", "reported", "device_seconds", "down_bytes", "up_bytes")
    with system_scope():
        usage.roll_up(now=NOW + timedelta(days=92))
        return list(UsageDay.objects.filter(job=world.job).values_list(*fields))


def test_rows_of_a_job_that_finished_long_ago_go_and_what_they_add_up_to_stays(world, ask):
    work(world, 80)
    before, told = used(world), sdk.convert(ask(world).json()).rounds[0]
    ended = metrics.Ended().counted()
    assert (len(told.cohort), len(told.batches), told.forgotten) == (6, 3, False)
    assert forget(91) == 1
    assert count(world) == [0, 0, 0, 0]
    with system_scope():
        round_ = Round.objects.get(job=world.job)
        assert round_.endings == [["reported", "", 6], ["failed", "training_failed", 1]]
        assert (round_.reported, ModelVersion.objects.filter(round=round_).count()) == (6, 1)
    assert used(world) == before != []
    assert metrics.Ended().counted() == ended
    after = sdk.convert(ask(world).json()).rounds[0]
    assert (after.cohort, after.batches, after.forgotten) == ([], [], True)
    assert (after.version.digest, after.metrics) == (told.version.digest, told.metrics)


def test_it_is_done_once_and_not_before_its_time(world):
    work(world, 80)
    assert (forget(89), count(world)) == (0, [7, 6, 3, 3])
    assert [forget(91), forget(91)] == [1, 0]


def test_nothing_goes_of_a_job_that_is_not_finished(world):
    work(world, 80)
    with system_scope():
        Job.objects.update(status="running", outcome="", finished_at=None)
    assert (forget(91), count(world)[0]) == (0, 7)


def test_a_day_that_is_still_counted_from_the_rows_keeps_them(world):
    """Nothing ran since: that day is counted at each look, lest the one after it be missed."""
    before = used(world)
    assert forget(91) == 0
    work(world, 95)
    assert forget(96) == 1
    assert used(world) == before


def test_a_long_past_is_forgotten_in_steps(world, monkeypatch):
    monkeypatch.setattr(forgetting, "AT_ONCE", 1)
    monkeypatch.setattr(forgetting, "AT_MOST", 10)
    work(world, 80)
    with system_scope():
        one = Round.objects.get(job=world.job)
        for number in (2, 3):
            one.id, one.number = uuid7(), number
            one.save(force_insert=True)
    assert [forget(91) for _ in range(3)] == [2, 1, 0]
