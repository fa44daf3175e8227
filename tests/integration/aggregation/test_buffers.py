"""Asynchronous jobs: buffers that overlap, devices that are never held up, steps in order."""

import threading
from collections import Counter

import pytest
from django.db import connection

import jobs.services
from aggregation import closing, folding, sweeping
from aggregation.models import Batch, ModelVersion, Partial, Update
from core.ids import uuid7
from jobs import selectors
from jobs.models import Assignment, Job, Round
from propius import arrays
from tenants.scopes import system_scope
from tests.integration.aggregation.test_rounds import finish
from tests.integration.aggregation.worlds import make_world, path_of, send
from tests.integration.factories import NOW, later

BUFFER = 5


@pytest.fixture
def world():
    """Eight devices at work at once; a step for each five updates, three steps."""
    return buffered()


def buffered(**strategy):
    return make_world(
        strategy={"name": "fedbuff", "buffer_size": BUFFER, **strategy},
        rounds__demand=8, rounds__count=3,
    )  # fmt: skip


def open_buffer(world):
    with system_scope():
        return Round.objects.get(job=world.job, kind="train", status__in=("selecting", "executing"))


def bind(world, devices, now=NOW):
    """Bind devices to the open buffer; returns (assignment id, device)."""
    round_ = open_buffer(world)
    bindings = [jobs.services.Binding(uuid7(), round_.id, one.id, 1) for one in devices]
    with system_scope():
        outcomes = jobs.services.assign(bindings=bindings, now=now)
    assert set(outcomes.values()) == {"assigned"}
    return [(one.assignment_id, device) for one, device in zip(bindings, devices, strict=True)]


def weight_of(world, number):
    with system_scope():
        version = ModelVersion.objects.get(job=world.job, number=number)
        return float(arrays.load(path_of(version.digest))["weight"][0, 0])


def test_devices_at_work_go_over_to_the_next_buffer_with_the_version_they_began_from(world):
    first = open_buffer(world)
    assert (first.demand, first.target, first.concurrency) == (5, 8, 8)
    bound = bind(world, world.devices)
    for one in bound[:BUFFER]:
        send(*one, 1.0)
    second = open_buffer(world)
    with system_scope():
        first.refresh_from_db()
        assert (first.status, first.assigned, first.reported) == ("aggregating", 5, 5)
        assert (second.number, second.assigned, second.target, second.base_version) == (2, 3, 8, 0)
        assert finish(first.id)
    second = open_buffer(world)
    assert second.base_version == 1
    fresh = bind(world, world.devices[:BUFFER])
    with system_scope():
        details = selectors.assignment_details([fresh[0][0], bound[-1][0]])
    assert details[fresh[0][0]].base_version == 1
    assert details[fresh[0][0]].base_digest == second.base_digest
    # It was told version 0 and is told it again after a broken connection.
    assert details[bound[-1][0]].base_digest == first.base_digest
    for one in bound[BUFFER:]:
        send(*one, 4.0)
    for one in fresh[:2]:
        send(*one, 2.0)
    with system_scope():
        assert finish(second.id)
    # From 0 to 4, one step late: each 4/√2. From 1 to 2: each 1.
    expected = 1 + (3 * 4 / 2**0.5 + 2 * 1) / 5
    assert weight_of(world, 2) == pytest.approx(expected, rel=1e-6)
    with system_scope():
        version = ModelVersion.objects.get(job=world.job, number=2)
        assert version.metrics == {"staleness": pytest.approx(0.6)}


def test_a_slot_opens_again_with_each_report(world):
    bound = bind(world, world.devices)
    for one in bound[:3]:
        send(*one, 1.0)
    round_ = open_buffer(world)
    assert (round_.reported, round_.assigned, round_.target) == (3, 8, 11)
    with system_scope():
        said = selectors.waiting(Job.objects.get(id=world.job.id))
    assert said.message == "asynchronous: 3 of 5 updates in the buffer, 5 of 8 devices at work"
    assert said.numbers["at_work"] == 5


def test_a_buffer_is_folded_only_after_the_one_before_it(world):
    bound = bind(world, world.devices)
    for one in bound[:BUFFER]:
        send(*one, 1.0)
    first = Round.objects.filter(id=open_buffer(world).id)
    for one in bound[BUFFER:]:
        send(*one, 1.0)
    with system_scope():
        second = first.get()
        assert second.reported == 3
        assert not folding.fold_next(round_id=second.id, now=NOW)
        [waiting] = sweeping.rounds_waiting(now=NOW)
        assert waiting != second.id
        assert finish(waiting)
        assert sweeping.rounds_waiting(now=NOW) == [second.id]


def test_a_device_that_is_too_far_behind_is_let_go_and_its_update_refused():
    world = buffered(max_staleness=1)
    bound = bind(world, world.devices)
    for one in bound[:BUFFER]:
        send(*one, 1.0)
    # Nothing is folded yet, so these begin from version 0 too, and go into the step after it.
    for one in bind(world, world.devices[:BUFFER]):
        send(*one, 1.0)
    with system_scope():
        left = Assignment.objects.filter(id__in=[one for one, _ in bound[BUFFER:]])
        assert set(left.values_list("status", "code")) == {("cancelled", "too_stale")}
    late = bind(world, world.devices[:1])
    with pytest.raises(jobs.services.TooStale, match="version 0; this step takes those from 1 on"):
        send(*late[0], 1.0)
    with pytest.raises(jobs.services.AssignmentOver, match="too_stale"):
        send(*bound[-1], 1.0)
    with system_scope():
        assert open_buffer(world).reported == 0


def test_it_ends_after_its_steps_and_keeps_what_devices_began_from(world):
    slow = bind(world, world.devices[:1])
    for step in range(3):
        for one in bind(world, world.devices[1:6] if step < 2 else world.devices[2:6]):
            send(*one, 1.0)
        if step == 2:
            with system_scope():
                kept = ModelVersion.objects.get(job=world.job, number=0)
                assert kept.released_at is None
            send(*slow[0], 1.0)
        with system_scope():
            assert finish(Round.objects.get(job=world.job, status="aggregating").id)
    with system_scope():
        job = Job.objects.get(id=world.job.id)
        assert (job.outcome, job.version) == ("completed", 3)
        numbers = Round.objects.filter(job=job).values_list("number", "outcome")
        assert sorted(numbers) == [(n, "completed") for n in (1, 2, 3)]


def test_a_lost_buffer_costs_its_updates_and_the_next_makes_the_step(world):
    for one in bind(world, world.devices[:BUFFER]):
        send(*one, 9.0)
    with system_scope():
        lost = Round.objects.get(job=world.job, status="aggregating")
    for one in bind(world, world.devices[:BUFFER]):
        send(*one, 2.0)
    with system_scope():
        path_of(Update.objects.filter(round=lost).first().digest).unlink()
        for attempt in range(3):
            finish(lost.id, later(10 * attempt))
        lost.refresh_from_db()
        assert (lost.outcome, lost.reason["code"]) == ("failed", "fold_failed")
        assert finish(Round.objects.get(job=world.job, status="aggregating").id, later(40))
        assert weight_of(world, 1) == 2.0
        assert Job.objects.get(id=world.job.id).status == "running"
        opened = Round.objects.filter(job=world.job).values_list("number", flat=True)
        assert sorted(opened) == [1, 2, 3]


def test_a_job_that_loses_every_buffer_fails():
    world = buffered()
    with system_scope():
        for _ in range(3):
            round_ = open_buffer(world)
            jobs.services.rounds.close(round_, now=NOW)
            jobs.services.fail_round(round_id=round_.id, code="fold_failed", message="x", now=NOW)
        job = Job.objects.get(id=world.job.id)
        assert (job.outcome, job.reason["code"]) == ("failed", "fold_failed")


def test_a_full_attempt_opens_again_when_its_time_is_over(world):
    bind(world, world.devices[:3])
    with system_scope():
        for after in (10, 20):
            jobs.services.extend_leases(now=later(after))
            jobs.services.sweep(now=later(after))
        found = Round.objects.filter(job=world.job).order_by("attempt")
        assert [(one.number, one.attempt, one.status) for one in found] == [
            (1, 1, "finished"),
            (1, 2, "selecting"),
        ]


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_a_return_meets_the_close_of_its_buffer(self):
        """Whoever gives back waits for the close, and then for the buffer it went over to."""
        world = buffered()
        bound = bind(world, world.devices)
        for one in bound[: BUFFER - 1]:
            send(*one, 1.0)
        giver, through = bound[-1], threading.Barrier(2)
        returned = jobs.services.Return(giver[0], giver[1].id, "failed", "cold", "")

        def give_back():
            with system_scope():
                through.wait()
                jobs.services.exchange(returns=[returned], bindings=[], now=NOW)

        def report():
            through.wait()
            send(*bound[BUFFER - 1], 1.0)

        run([give_back, report])
        with system_scope():
            assert Assignment.objects.get(id=giver[0]).status == "failed"
            for one in Round.objects.filter(job=world.job):
                rows = Assignment.objects.filter(round=one, status__in=("bound", "reported"))
                assert one.assigned == rows.count()

    def test_devices_that_never_wait_lose_and_double_nothing(self):
        world = buffered()
        counts = Counter()

        def device(mine):
            while running(world):
                try:
                    [held] = bind(world, [mine])
                    send(*held, 1.0)
                    counts[mine.id] += 1
                except (AssertionError, Round.DoesNotExist):
                    pass  # no buffer is open, or it had this device already
                except (jobs.services.AssignmentOver, jobs.services.RoundClosed):
                    pass

        def worker():
            while running(world):
                with system_scope():
                    waiting = sweeping.rounds_waiting(now=NOW)
                for round_id in waiting:
                    with system_scope():
                        folding.fold_next(round_id=round_id, now=NOW)
                    with system_scope():
                        closing.close_round(round_id=round_id, now=NOW)

        run([lambda one=one: device(one) for one in world.devices] + [worker, worker])
        with system_scope():
            assert Job.objects.get(id=world.job.id).outcome == "completed"
            updates = Update.objects.filter(round__job=world.job)
            assert updates.count() == sum(counts.values()) == 3 * BUFFER
            assert not updates.filter(partial=None).exists()
            assert not Batch.objects.filter(done_at=None).exists()
            folded = sum(Partial.objects.values_list("count", flat=True))
            assert folded == 3 * BUFFER
            versions = ModelVersion.objects.filter(job=world.job).order_by("number")
            assert [one.number for one in versions] == [0, 1, 2, 3]


def running(world):
    with system_scope():
        return Job.objects.get(id=world.job.id).status == "running"


def run(works):
    def alone(work):
        try:
            work()
        finally:
            connection.close()

    threads = [threading.Thread(target=alone, args=(work,)) for work in works]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=60)
        assert not one.is_alive()
