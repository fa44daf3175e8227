"""Updates that end at the same moment are counted in one transaction, each as if alone."""

import dataclasses
import threading
import uuid

import pytest
from django.db import connection

from aggregation import services, uploads
from aggregation.models import Batch, Update
from clients import services as client_services
from jobs.models import Assignment, Job, Round
from tenants.scopes import system_scope
from tests.integration.aggregation import leaves
from tests.integration.aggregation.worlds import make_world, update, upload
from tests.integration.factories import NOW


def arrived(assignment_id, device, value, weight=1.0, **metrics):
    data = update(value)
    return services.Arrived(
        assignment_id=assignment_id, device_id=device.id,
        digest=upload(assignment_id, device, data), size_bytes=len(data), weight=weight,
        metrics=metrics,
    )  # fmt: skip


def accept(many):
    return services.accept_updates(arrived=many, now=NOW)


def test_places_follow_the_order_given_and_what_is_too_late_is_told_why():
    world = make_world(rounds__demand=5, rounds__over_selection=1.6)
    round_ = world.round()
    bound = world.bind(round_)
    with system_scope():
        demand = round_.demand
        assert (demand, len(bound)) == (5, 8)
        many = [arrived(*one, number) for number, one in enumerate(bound)]
        bad = arrived(*bound[1], 1.0, weight=-1.0)
        stranger = arrived(*bound[0], 1.0)
        many[1] = bad
        answers = accept([many[0], bad, *many[2:]])
        assert answers[0] == services.Accepted(1, already=False)
        assert answers[1].code == "bad_report"
        counted = [one for one in answers if isinstance(one, services.Accepted)]
        assert [one.sequence for one in counted] == list(range(1, demand + 1))
        assert {one.code for one in answers[demand + 1 :]} == {"round_closed"}
        round_.refresh_from_db()
        assert (round_.status, round_.reported) == ("aggregating", demand)
        rows = Update.objects.filter(round=round_).order_by("sequence")
        assert [one.assignment_id for one in rows] == [
            many[index].assignment_id for index in (0, *range(2, demand + 1))
        ]
        assert [(one.first, one.last) for one in Batch.objects.filter(round=round_)] == [
            (1, 2), (3, 4), (5, 6),
        ]  # fmt: skip
        again = accept([stranger, many[2]])
        assert again == [services.Accepted(1, already=True), services.Accepted(2, already=True)]


def test_rounds_of_many_jobs_and_strangers_come_in_one_call(world):
    other = make_world()
    first, second = world.round(), other.round()
    mine, theirs = world.bind(first), other.bind(second)
    with system_scope():
        foreign = arrived(*mine[2], 1.0)
        answers = accept([
            arrived(*mine[0], 1.0), arrived(*theirs[0], 1.0), arrived(*mine[1], 1.0),
            services.Arrived(
                assignment_id=foreign.assignment_id, device_id=uuid.uuid4(),
                digest=foreign.digest, size_bytes=foreign.size_bytes, weight=1.0, metrics={},
            ),
        ])  # fmt: skip
        assert [one.sequence for one in answers[:3]] == [1, 1, 2]
        assert answers[3].code == "stale_assignment"
        held = Assignment.objects.get(id=foreign.assignment_id)
        assert held.status == Assignment.Status.BOUND


def by_steps(**train):
    """A world whose strategy normalises by local steps; nothing is trained here."""
    one = make_world()
    with system_scope():
        spec = Job.objects.get(id=one.job.id).spec
        spec["strategy"] = {"name": "fednova"}
        spec["workload"]["train"] = train
        Job.objects.filter(id=one.job.id).update(spec=spec)
        one.job.refresh_from_db()
    return one


BOUNDS = [
    ({"local_steps": 5, "epochs": 1, "batch_size": 32}, 1e6, 5),
    ({"local_steps": None, "epochs": 2, "batch_size": 10}, 32.0, 14),
    ({"local_steps": None, "epochs": 1000, "batch_size": 1}, 1e6, 100_000),
    ({}, 3.0, 6),
]


@pytest.mark.parametrize(("train", "weight", "most"), BOUNDS)
def test_more_steps_than_the_jobs_training_allows_are_refused(train, weight, most):
    world = by_steps(**train)
    bound = world.bind(world.round())
    with system_scope():
        liar = arrived(*bound[0], 1.0, weight, local_steps=float(most + 1))
        honest = arrived(*bound[1], 1.0, weight, local_steps=float(most))
        refused, taken = accept([liar, honest])
        assert taken == services.Accepted(1, already=False)
        assert refused.code == "bad_report"
        assert refused.errors == {
            "metrics.local_steps": (
                f"{float(most + 1)!r}; from 0 to {most:g} is allowed by the job's training"
                f" and the weight of {weight:g}"
            )
        }
        with pytest.raises(uploads.UpdateRefused, match="local_steps"):
            services.accept_update(**dataclasses.asdict(liar), now=NOW)
        leaf, _ = leaves.make()
        held = leaves.hold(
            leaf, world.round().id, bound[0][0], weight=weight, local_steps=float(most + 1)
        )
        assert held.refused[bound[0][0]].errors == refused.errors


def test_steps_bound_nothing_where_the_strategy_does_not_go_by_them(world):
    bound = world.bind(world.round())
    with system_scope():
        [taken] = accept([arrived(*bound[0], 1.0, local_steps=1e6)])
        assert taken == services.Accepted(1, already=False)


def test_who_was_revoked_is_not_counted_among_others(world):
    bound = world.bind(world.round())
    with system_scope():
        many = [arrived(*one, 1.0) for one in bound[:3]]
        client_services.revoke_device(device_id=bound[1][1].id, actor="test", now=NOW)
        answers = accept(many)
    assert [answers[0].sequence, answers[2].sequence] == [1, 2]
    assert answers[1].code == "assignment_over"
    assert "revoked" in answers[1].detail


@pytest.mark.django_db(transaction=True)
def test_calls_at_the_same_moment_give_each_place_once(world):
    round_ = world.round()
    bound = world.bind(round_)
    with system_scope():
        many = [arrived(*one, number) for number, one in enumerate(bound)]
    answers = []

    def run(part):
        try:
            with system_scope():
                answers.extend(accept(part))
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(many[start::2],)) for start in (0, 1, 0)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {one.sequence for one in answers} == set(range(1, round_.demand + 1))
    assert sum(not one.already for one in answers) == round_.demand
    with system_scope():
        assert Round.objects.get(id=round_.id).reported == round_.demand
