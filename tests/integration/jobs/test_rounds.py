"""A round's life, by hand and with injected time."""

import threading
from uuid import uuid4

import pytest
from django.db import connection

from core.ids import uuid7
from jobs import selectors, services
from jobs.models import Assignment, Job, Round
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW, later


@pytest.fixture
def world():
    """A running job that asks for 6 devices, and 9 devices."""
    mine = factories.tenant()
    pool = factories.pool()
    devices = [factories.device(pool) for _ in range(9)]
    with system_scope():
        yield factories.job(mine), devices


def bind(round_: Round, devices, now=NOW):
    bindings = [services.Binding(uuid7(), round_.id, device.id, 1) for device in devices]
    return services.assign(bindings=bindings, now=now), bindings


def report(bindings, devices, now=NOW):
    for binding, device in zip(bindings, devices, strict=True):
        yield services.report(assignment_id=binding.assignment_id, device_id=device.id, now=now)


def test_it_opens_the_first_round_with_the_jobs_demand(world):
    job, _ = world
    round_ = factories.open_round(job)
    assert (round_.number, round_.attempt, round_.kind) == (1, 1, "train")
    assert (round_.demand, round_.target, round_.quorum) == (6, 6, 5)
    assert round_.selection_ends_at == later(10)


def test_it_never_assigns_more_than_the_target(world):
    job, devices = world
    round_ = factories.open_round(job)
    outcomes, _ = bind(round_, devices)
    assert sorted(outcomes.values()) == ["assigned"] * 6 + ["full"] * 3
    round_.refresh_from_db()
    assert (round_.assigned, round_.status) == (6, "executing")
    assert round_.deadline_at == later(20)


def test_it_refuses_a_device_that_holds_another_assignment(world):
    job, devices = world
    round_ = factories.open_round(job)
    bind(round_, devices[:2])
    outcomes, _ = bind(round_, devices[1:3])
    assert sorted(outcomes.values()) == ["assigned", "busy"]
    round_.refresh_from_db()
    assert round_.assigned == 3


def test_it_closes_at_the_demand_and_numbers_reports_from_one(world):
    job, devices = world
    round_ = factories.open_round(job)
    _, bindings = bind(round_, devices[:6])
    reports = list(report(bindings, devices[:6]))
    assert [one.sequence for one in reports] == [1, 2, 3, 4, 5, 6]
    assert [one.closed for one in reports] == [False] * 5 + [True]
    round_.refresh_from_db()
    assert round_.status == "aggregating"


def test_it_counts_a_repeated_report_once(world):
    job, devices = world
    round_ = factories.open_round(job)
    _, bindings = bind(round_, devices[:2])
    list(report(bindings, devices[:2]))
    with pytest.raises(services.AlreadyReported):
        list(report(bindings[:1], devices[:1]))
    round_.refresh_from_db()
    assert round_.reported == 2


def test_it_refuses_a_report_of_another_devices_assignment(world):
    job, devices = world
    _, bindings = bind(factories.open_round(job), devices[:1])
    with pytest.raises(services.StaleAssignment):
        list(report(bindings, devices[1:2]))
    with pytest.raises(services.StaleAssignment):
        services.report(assignment_id=uuid4(), device_id=devices[0].id, now=NOW)


def test_it_gives_a_declined_slot_to_another_device_but_never_the_same(world):
    job, devices = world
    round_ = factories.open_round(job)
    _, bindings = bind(round_, devices[:6])
    services.give_back(
        assignment_id=bindings[0].assignment_id, device_id=devices[0].id, status="declined",
        code="consent", message="not for this tenant", now=NOW,
    )  # fmt: skip
    round_.refresh_from_db()
    assert (round_.assigned, round_.lost) == (5, 1)
    assert list(bind(round_, devices[:1])[0].values()) == ["busy"]
    assert list(bind(round_, devices[6:7])[0].values()) == ["assigned"]


def test_it_expires_a_silent_device_and_frees_its_slot(world):
    job, devices = world
    round_ = factories.open_round(job)
    _, bindings = bind(round_, devices[:2])
    services.accept(assignment_id=bindings[0].assignment_id, device_id=devices[0].id, now=later(1))
    services.sweep(now=later(10.5))
    statuses = [Assignment.objects.get(id=one.assignment_id).status for one in bindings]
    assert statuses == ["bound", "expired"]
    round_.refresh_from_db()
    assert (round_.assigned, round_.lost) == (1, 1)
    with pytest.raises(services.AssignmentOver):
        list(report(bindings[1:], devices[1:2]))


def test_it_renews_many_leases_and_says_why_some_are_over(world):
    job, devices = world
    _, bindings = bind(factories.open_round(job), devices[:3])
    services.give_back(
        assignment_id=bindings[0].assignment_id, device_id=devices[0].id, status="failed",
        code="crashed", message="out of memory", now=NOW,
    )  # fmt: skip
    deleted = uuid4()
    told = [
        services.Progress(one, "training", 0.5)
        for one in [*(one.assignment_id for one in bindings), deleted]
    ]
    over = services.renew(progress=told, now=later(5))
    assert {one: (why.code, why.message) for one, why in over.items()} == {
        bindings[0].assignment_id: ("crashed", "out of memory"),
        deleted: ("assignment_over", "its lease ran out or its round closed"),
    }
    services.sweep(now=later(34))
    kept = Assignment.objects.get(id=bindings[1].assignment_id)
    assert (kept.status, kept.phase, kept.fraction) == ("bound", "training", 0.5)


def test_it_extends_a_short_selection_once_then_tries_again(world):
    job, devices = world
    first = factories.open_round(job)
    bind(first, devices[:3])
    services.extend_leases(now=later(60))
    services.sweep(now=later(10))
    first.refresh_from_db()
    assert (first.status, first.extensions, first.assigned) == ("selecting", 1, 3)
    services.sweep(now=later(20))
    first.refresh_from_db()
    assert (first.status, first.outcome) == ("finished", "failed")
    assert first.reason["message"].startswith("3 of 6 devices bound within 20 s; at least 5")
    assert Assignment.objects.filter(round=first, status="cancelled").count() == 3
    assert factories.open_round(job).attempt == 2


def test_it_starts_with_a_quorum_when_the_window_ends(world):
    job, devices = world
    round_ = factories.open_round(job)
    bind(round_, devices[:5])
    services.extend_leases(now=later(60))
    services.sweep(now=later(10))
    round_.refresh_from_db()
    assert (round_.status, round_.deadline_at) == ("executing", later(30))


def test_it_closes_at_the_deadline_with_a_quorum_of_reports(world):
    job, devices = world
    round_ = factories.open_round(job)
    _, bindings = bind(round_, devices[:6])
    list(report(bindings[:5], devices[:5]))
    services.extend_leases(now=later(60))
    services.sweep(now=later(20))
    round_.refresh_from_db()
    assert (round_.status, round_.reported) == ("aggregating", 5)
    with pytest.raises(services.RoundClosed):
        list(report(bindings[5:], devices[5:6], now=later(21)))


def test_it_fails_the_job_when_its_attempts_are_used_up(world):
    job, _ = world
    for attempt in range(1, 4):
        round_ = factories.open_round(job)
        assert round_.attempt == attempt
        services.fail_round(round_id=round_.id, code="too_few_devices", message="none", now=NOW)
    job.refresh_from_db()
    assert (job.status, job.outcome) == ("finished", "failed")
    assert "round 1 failed at attempt 3" in job.reason["message"]


def finish(round_: Round, devices, version: int, now=NOW):
    _, bindings = bind(round_, devices[: round_.target], now)
    list(report(bindings, devices[: round_.target], now))
    services.complete_round(
        round_id=round_.id, parameters_digest=f"{version:064x}", parameters_size=10,
        version=version, metrics={"loss": 1.0}, now=now,
    )  # fmt: skip


def test_it_runs_all_rounds_and_completes(world):
    job, devices = world
    finish(factories.open_round(job), devices, 1)
    second = factories.open_round(job)
    assert (second.number, second.base_version, second.base_digest) == (2, 1, f"{1:064x}")
    finish(second, devices, 2)
    job.refresh_from_db()
    assert (job.status, job.outcome, job.version) == ("finished", "completed", 2)


def test_it_completes_a_round_only_once(world):
    job, devices = world
    round_ = factories.open_round(job)
    finish(round_, devices, 1)
    with pytest.raises(services.RoundOver):
        services.complete_round(
            round_id=round_.id, parameters_digest="b" * 64, parameters_size=1, version=2,
            metrics={}, now=NOW,
        )  # fmt: skip
    job.refresh_from_db()
    assert job.version == 1


def test_it_evaluates_beside_training_and_waits_for_the_last_evaluation():
    mine, pool = factories.tenant(), factories.pool()
    devices = [factories.device(pool) for _ in range(12)]
    with system_scope():
        job = factories.job(mine, rounds__count=1, evaluation__every=1, evaluation__demand=5)
        finish(factories.open_round(job), devices, 1)
        job.refresh_from_db()
        assert job.status == "running"
        evaluation = factories.open_round(job, Round.Kind.EVALUATE)
        assert (evaluation.number, evaluation.base_version, evaluation.target) == (1, 1, 5)
        finish(evaluation, devices, 1)
        job.refresh_from_db()
        assert (job.outcome, job.version) == ("completed", 1)


def test_it_cancels_a_job_with_its_rounds_and_assignments(world):
    job, devices = world
    round_ = factories.open_round(job)
    bind(round_, devices[:3])
    services.cancel(job_id=job.id, actor="alice", now=NOW)
    job.refresh_from_db()
    round_.refresh_from_db()
    assert (job.outcome, round_.outcome) == ("cancelled", "abandoned")
    assert Assignment.objects.filter(status="cancelled").count() == 3
    assert services.cancel(job_id=job.id, actor="alice", now=NOW).outcome == "cancelled"
    assert list(bind(round_, devices[4:5])[0].values()) == ["full"]


def test_it_pauses_selection_and_gives_the_window_back_on_resume(world):
    job, devices = world
    services.pause(job_id=job.id, actor="alice", now=NOW)
    assert selectors.open_rounds() == []
    assert list(bind(factories.open_round(job), devices[:1])[0].values()) == ["full"]
    services.sweep(now=later(100))
    assert factories.open_round(job).status == "selecting"
    services.resume(job_id=job.id, actor="alice", now=later(100))
    assert factories.open_round(job).selection_ends_at == later(110)
    with pytest.raises(services.WrongState, match="only a paused job can resume"):
        services.resume(job_id=job.id, actor="alice", now=later(101))


@pytest.mark.django_db(transaction=True)
def test_it_never_over_assigns_however_many_gateways_race():
    mine, pool = factories.tenant(), factories.pool()
    devices = [factories.device(pool) for _ in range(40)]
    job = factories.job(mine)
    round_ = factories.open_round(job)
    outcomes: list[str] = []
    start = threading.Barrier(4)

    def gateway(share):
        start.wait()
        with system_scope():
            for device in share:
                outcomes.extend(bind(round_, [device])[0].values())
        connection.close()

    threads = [threading.Thread(target=gateway, args=(devices[i::4],)) for i in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with system_scope():
        round_.refresh_from_db()
        rows = Assignment.objects.filter(round=round_).count()
    assert outcomes.count("assigned") == rows == round_.assigned == 6


@pytest.mark.django_db(transaction=True)
def test_it_survives_reports_expiries_and_cancels_at_the_same_time():
    """Lock order: whatever wins, nothing deadlocks and the counts agree with the rows."""
    mine, pool = factories.tenant(), factories.pool()
    devices = [factories.device(pool) for _ in range(6)]
    for _ in range(5):
        job = factories.job(mine)
        with system_scope():
            round_ = factories.open_round(job)
            _, bindings = bind(round_, devices)
        errors: list[Exception] = []

        def run(work, errors=errors):
            try:
                with system_scope():
                    work()
            except (services.RoundClosed, services.AssignmentOver, services.WrongState):
                pass
            except Exception as error:  # noqa: BLE001 - a deadlock must fail the test
                errors.append(error)
            finally:
                connection.close()

        pairs = zip(bindings, devices, strict=True)
        works = [
            *(lambda b=b, d=d: list(report([b], [d])) for b, d in pairs),
            lambda: services.sweep(now=later(11)),
            lambda job=job: services.cancel(job_id=job.id, actor="x", now=NOW),
        ]  # fmt: skip
        threads = [threading.Thread(target=run, args=(work,)) for work in works]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert errors == []
        with system_scope():
            round_.refresh_from_db()
            reported = Assignment.objects.filter(round=round_, status="reported").count()
            assert round_.reported == reported
            assert not Assignment.objects.filter(round=round_, status="bound").exists()
            assert Job.objects.get(id=job.id).status == "finished"
