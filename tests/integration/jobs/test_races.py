"""Moves of the same job at the same moment: one lock order, so that none waits for ever."""

import threading
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from clients import services as client_services
from core.ids import uuid7
from jobs import services
from jobs.models import Assignment, Job, Maintenance, Quarantine, Round
from jobs.services import slots
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW, later


@contextmanager
def as_worker():
    """Take the system's role for the whole connection, so that ``work`` has its own transactions.

    As workers do; :func:`aside` closes the connection.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE propius_system")
    yield


def aside(work, scope=system_scope) -> threading.Thread:
    """Start ``work`` on its own connection; what it raises is on the thread as ``error``."""

    def run():
        try:
            with scope():
                work()
        except Exception as error:  # noqa: BLE001 - told by the test
            thread.error = error
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.error = None
    thread.start()
    return thread


def until_it_waits() -> None:
    """Return when another connection waits for a lock."""
    for _ in range(400):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            cursor.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("nobody waits for a lock")


def bind(round_, devices, now=NOW):
    bindings = [services.Binding(uuid7(), round_.id, device.id, 1) for device in devices]
    return services.assign(bindings=bindings, now=now), bindings


@pytest.fixture
def two_open():
    """A job whose second train round and first evaluation are open, on its last attempt."""
    mine, pool = factories.tenant(), factories.pool()
    devices = [factories.device(pool) for _ in range(12)]
    job = factories.job(mine, rounds__max_attempts=1, evaluation__every=1, evaluation__demand=5)
    with system_scope():
        first = factories.open_round(job)
        _, bindings = bind(first, devices[:6])
        for binding, device in zip(bindings, devices[:6], strict=True):
            services.report(assignment_id=binding.assignment_id, device_id=device.id, now=NOW)
        services.complete_round(
            round_id=first.id, parameters_digest="b" * 64, parameters_size=1, version=1,
            metrics={}, now=NOW,
        )  # fmt: skip
    return job, factories.open_round(job), factories.open_round(job, Round.Kind.EVALUATE), devices


@pytest.mark.django_db(transaction=True)
def test_a_failing_round_does_not_deadlock_with_the_end_of_another_of_its_job(two_open):
    job, train, evaluation, devices = two_open
    with system_scope():
        _, bindings = bind(evaluation, devices[:5])
        for binding, device in zip(bindings, devices[:5], strict=True):
            services.report(assignment_id=binding.assignment_id, device_id=device.id, now=NOW)
    with system_scope():
        Round.objects.select_for_update(no_key=True).get(id=evaluation.id)
        failing = aside(
            lambda: services.fail_round(round_id=train.id, code="x", message="", now=NOW)
        )
        until_it_waits()
        services.complete_round(
            round_id=evaluation.id, parameters_digest="b" * 64, parameters_size=1, version=1,
            metrics={}, now=NOW,
        )  # fmt: skip
    failing.join()
    assert failing.error is None
    with system_scope():
        assert Job.objects.get(id=job.id).outcome == "failed"


@pytest.mark.django_db(transaction=True)
def test_a_cancel_takes_the_round_that_opened_while_it_waited():
    mine, pool = factories.tenant(), factories.pool()
    devices = [factories.device(pool) for _ in range(6)]
    job = factories.job(mine)
    with system_scope():
        first = factories.open_round(job)
        _, bindings = bind(first, devices)
        for binding, device in zip(bindings, devices, strict=True):
            services.report(assignment_id=binding.assignment_id, device_id=device.id, now=NOW)
    with system_scope():
        Round.objects.select_for_update(no_key=True).get(id=first.id)
        cancelling = aside(lambda: services.cancel(job_id=job.id, actor="alice", now=NOW))
        until_it_waits()
        services.complete_round(
            round_id=first.id, parameters_digest="b" * 64, parameters_size=1, version=1,
            metrics={}, now=NOW,
        )  # fmt: skip
    cancelling.join()
    assert cancelling.error is None
    with system_scope():
        outcomes = Round.objects.filter(job=job).order_by("number")
        assert list(outcomes.values_list("outcome", flat=True)) == ["completed", "abandoned"]
        assert Job.objects.get(id=job.id).outcome == "cancelled"


@pytest.mark.django_db(transaction=True)
def test_a_resume_takes_the_rounds_before_the_job():
    job = factories.job(factories.tenant())
    with system_scope():
        services.pause(job_id=job.id, actor="alice", now=NOW)
    with system_scope():
        Round.objects.select_for_update(no_key=True).get(job=job)
        resuming = aside(lambda: services.resume(job_id=job.id, actor="alice", now=NOW))
        until_it_waits()
        # With the job taken first this would be a deadlock.
        Job.objects.select_for_update(no_key=True).get(id=job.id)
    resuming.join()
    assert resuming.error is None


@pytest.mark.django_db(transaction=True)
def test_it_extends_leases_in_the_order_in_which_they_are_cancelled():
    mine, pool = factories.tenant(), factories.pool()
    devices = [factories.device(pool) for _ in range(6)]
    round_ = factories.open_round(factories.job(mine))
    with system_scope():
        _, bindings = bind(round_, devices)
        ids = sorted(one.assignment_id for one in bindings)
        # Renewed, its row is the last in the table and in the index of leases.
        Assignment.objects.filter(id=ids[0]).update(lease_expires_at=later(11))
    with system_scope():
        Assignment.objects.select_for_update(no_key=True).get(id=ids[0])
        extending = aside(lambda: services.extend_leases(now=later(1)))
        until_it_waits()
        slots.cancel_bound([round_.id], code="cancelled", now=NOW)
    extending.join()
    assert extending.error is None


@pytest.mark.django_db(transaction=True)
def test_it_does_not_reject_a_job_that_was_admitted_meanwhile():
    job = factories.job(factories.tenant(), admitted=False)
    with system_scope():
        services.admit(job_id=job.id, numbers={}, now=NOW)
        rejecting = aside(
            lambda: services.reject(job_id=job.id, code="too_few", message="", now=NOW)
        )
        until_it_waits()
    rejecting.join()
    assert rejecting.error is None
    with system_scope():
        assert Job.objects.get(id=job.id).status == "running"


def test_it_gives_the_same_answer_to_a_commit_that_is_repeated():
    """The connection may break after the commit: the rows are there, and stay the device's."""
    mine, pool = factories.tenant(), factories.pool()
    devices = [factories.device(pool) for _ in range(6)]
    round_ = factories.open_round(factories.job(mine))
    with system_scope():
        _, bindings = bind(round_, devices)
        again = services.assign(bindings=bindings, now=NOW)
        assert set(again.values()) == {"assigned"}
        round_.refresh_from_db()
        assert (round_.assigned, Assignment.objects.count()) == (6, 6)


def test_it_gives_no_work_to_a_device_that_was_revoked_while_connected():
    device = factories.device(factories.pool())
    round_ = factories.open_round(factories.job(factories.tenant()))
    with system_scope(), transaction.atomic():
        client_services.revoke_device(device_id=device.id, actor="x", now=NOW)
        outcomes, _ = bind(round_, [device])
        round_.refresh_from_db()
    assert (list(outcomes.values()), round_.assigned) == (["busy"], 0)


def test_it_rounds_up_devices_without_the_last_bits_of_a_product():
    job = factories.job(factories.tenant(), rounds__demand=100, rounds__over_selection=1.1)
    assert factories.open_round(job).target == 110


@pytest.mark.django_db(transaction=True)
def test_a_sweep_that_looked_before_a_quarantine_came_does_not_end_it():
    job = factories.job(factories.tenant())
    with system_scope():
        services.put_in_quarantine(
            kind="job", target=str(job.id), reason="it is slow", author="op", now=NOW
        )
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE jobs_job IN ACCESS EXCLUSIVE MODE")
        # It has read what is in quarantine, and waits to read the jobs.
        sweeping = aside(lambda: services.uphold(now=later(1)))
        until_it_waits()
    sweeping.join()
    assert sweeping.error is None
    with system_scope():
        assert Job.objects.get(id=job.id).held.endswith("it is slow")


@pytest.fixture
def two_jobs():
    """The open rounds of two jobs, and a device for each."""
    mine, pool = factories.tenant(), factories.pool()
    rounds = [factories.open_round(factories.job(mine)) for _ in range(2)]
    return rounds, [factories.device(pool) for _ in rounds]


def run_beside_locks(model, ids, work, **options):
    """Run ``work`` while its rows are locked here, the second once it waits for the first."""
    first, second = sorted(ids)
    with system_scope():
        model.objects.select_for_update(no_key=True).get(id=first)
        working = aside(work, **options)
        until_it_waits()
        # Held by who waits, this would be a deadlock.
        model.objects.select_for_update(no_key=True).get(id=second)
    working.join()
    assert working.error is None


@pytest.mark.django_db(transaction=True)
def test_a_stopped_fleet_is_kept_so_without_holding_rounds_after_those_that_it_puts_off(two_jobs):
    rounds, devices = two_jobs
    with system_scope():
        bind(rounds[1], devices[:1])
        Maintenance.objects.create(mode="stopped", reason="x", author="op", created_at=NOW)
    # The window of the first ends; the second has a device to call back.
    run_beside_locks(
        Round, [one.id for one in rounds], lambda: services.uphold(now=later(8)), scope=as_worker
    )
    with system_scope():
        rounds[0].refresh_from_db()
        assert rounds[0].selection_ends_at == later(18)
        assert Assignment.objects.get().status == Assignment.Status.CANCELLED


@pytest.mark.django_db(transaction=True)
def test_a_quarantine_of_software_takes_the_rounds_of_all_that_is_barred_at_once(two_jobs):
    rounds, devices = two_jobs
    with system_scope():
        for round_, device, sdk in zip(rounds, devices, ("acme 2", "acme 1"), strict=True):
            bind(round_, [device])
            device.sdk = sdk
            device.save()
        # What runs the first is called back before what runs the second.
        Quarantine.objects.create(
            kind="sdk", target="acme 1", reason="x", author="op", created_at=NOW
        )
    run_beside_locks(
        Round,
        [one.id for one in rounds],
        lambda: services.put_in_quarantine(
            kind="sdk", target="acme 2", reason="x", author="op", now=NOW
        ),
    )
    with system_scope():
        statuses = Assignment.objects.values_list("status", "round__assigned")
        assert list(statuses) == [("cancelled", 0)] * 2


@pytest.mark.django_db(transaction=True)
def test_a_quarantine_of_a_workload_takes_what_devices_hold_of_its_jobs_by_id(two_jobs):
    rounds, devices = two_jobs
    with system_scope():
        # Of the second job first, so that ids run against the order of jobs.
        bound = [bind(rounds[place], [devices[place]])[1][0] for place in (1, 0)]
    run_beside_locks(
        Assignment,
        [one.assignment_id for one in bound],
        lambda: services.put_in_quarantine(
            kind="workload", target="train", reason="x", author="op", now=NOW
        ),
    )
    with system_scope():
        statuses = Assignment.objects.values_list("status", "round__assigned")
        assert list(statuses) == [("cancelled", 0)] * 2
        assert not Job.objects.filter(held="").exists()
