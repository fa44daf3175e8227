"""Work that ends every worker, or fails in a way that nobody foresaw: the round ends, not hangs."""

import time

import pytest
from django.db import OperationalError, connection
from django.db.backends.signals import connection_created

from aggregation import claims, closing, folding
from aggregation.models import Batch, Closing, ModelVersion, Partial, Update
from core import knobs
from jobs.models import Round
from tenants.scopes import system_scope
from tests.integration.aggregation.test_rounds import fold_all
from tests.integration.aggregation.worlds import send
from tests.integration.factories import NOW, later


def reported(world):
    round_ = world.round()
    for bound in world.bind(round_):
        send(*bound, 1.0, loss=1.0)
    return round_


def next_attempt(world):
    return Round.objects.get(job=world.job, number=1, attempt=2).status


def test_a_batch_that_ends_every_worker_fails_its_round(world):
    round_ = reported(world)
    with system_scope():
        batch = Batch.objects.filter(round=round_).first()
        for death in range(3):
            assert claims.take(Batch, batch.pk, now=later(20 * death))
        assert folding.fold_next(round_id=round_.id, now=later(60))
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "fold_failed")
        assert "every worker that took it died" in round_.reason["message"]
        assert next_attempt(world) == "selecting"


def test_a_close_that_ends_every_worker_fails_its_round(world):
    round_ = reported(world)
    with system_scope():
        fold_all(round_.id)
        Closing.objects.create(round=round_, tenant=world.tenant)
        for death in range(3):
            assert claims.take(Closing, round_.pk, now=later(20 * death))
        assert closing.close_round(round_id=round_.id, now=later(60))
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "close_failed")
        assert next_attempt(world) == "selecting"


def test_one_worker_that_dies_is_no_failure_of_the_batch(world):
    round_ = reported(world)
    with system_scope():
        batch = Batch.objects.filter(round=round_).first()
        assert claims.take(Batch, batch.pk, now=NOW)
        fold_all(round_.id, later(20))
        assert closing.close_round(round_id=round_.id, now=later(20))
        round_.refresh_from_db()
        assert round_.outcome == "completed"


def test_an_error_that_nobody_foresaw_is_logged_and_ends_with_the_attempts(world, caplog):
    round_ = reported(world)
    with system_scope():
        Update.objects.filter(round=round_, sequence=1).update(metrics={"loss": "a word"})
        for attempt in range(3):
            fold_all(round_.id, later(10 * attempt))
        round_.refresh_from_db()
        assert (round_.outcome, round_.reason["code"]) == ("failed", "fold_failed")
        assert "a word" not in round_.reason["message"]
        assert next_attempt(world) == "selecting"
    assert [one.message for one in caplog.records].count("fold.crashed") == 3


@pytest.fixture
def system_role(transactional_db, app_role):
    """Workers log in as propius_system, in each of their threads."""

    def become(connection, **_):
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE propius_system")

    connection_created.connect(become, weak=False, dispatch_uid="tests.system_role")
    become(connection)
    yield
    connection_created.disconnect(dispatch_uid="tests.system_role")
    connection.close()


@pytest.mark.usefixtures("system_role")
def test_a_claim_is_renewed_for_as_long_as_the_work_lasts(world, monkeypatch):
    monkeypatch.setenv("PROPIUS_FOLD_CLAIM_S", "0.6")
    knobs.get.cache_clear()
    reported(world)
    batch = Batch.objects.first()
    token = claims.take(Batch, batch.pk, now=NOW)
    with claims.kept(Batch, batch.pk, token):
        until = time.monotonic() + 5
        while Batch.objects.get(pk=batch.pk).claimed_until <= later(60):
            assert time.monotonic() < until
            time.sleep(0.05)
    assert Batch.objects.get(pk=batch.pk).failures == 0


@pytest.fixture
def at_insert(system_role):
    """Have Postgres do something when a row is inserted, until it is told to stop."""
    tables = []

    def as_owner(*statements):
        with connection.cursor() as cursor:
            for one in ("RESET ROLE", *statements, "SET ROLE propius_system"):
                cursor.execute(one)

    def stop():
        while tables:
            as_owner(f"DROP TRIGGER fault ON {tables.pop()}", "DROP FUNCTION fault")

    def do(model, statement):
        table = model._meta.db_table
        as_owner(
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
            f"$$ BEGIN {statement}; RETURN NEW; END $$",
            f"CREATE TRIGGER fault BEFORE INSERT ON {table} EXECUTE FUNCTION fault()",
        )
        tables.append(table)
        return stop

    yield do
    stop()


@pytest.mark.parametrize(
    "fault",
    [
        "RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected'",
        "PERFORM pg_terminate_backend(pg_backend_pid())",
    ],
)
def test_faults_of_the_database_are_no_deaths_of_workers(world, at_insert, fault):
    round_ = reported(world)
    batch = Batch.objects.filter(round=round_).earliest("number")
    mend = at_insert(Partial, fault)
    for _ in range(4):
        with pytest.raises(OperationalError):
            folding.fold_next(round_id=round_.id, now=NOW)
    batch.refresh_from_db()
    assert (batch.failures, batch.token, batch.claimed_until) == (0, None, None)
    mend()
    fold_all(round_.id)
    mend = at_insert(ModelVersion, fault)
    for _ in range(4):
        with pytest.raises(OperationalError):
            closing.close_round(round_id=round_.id, now=NOW)
    mend()
    assert closing.close_round(round_id=round_.id, now=NOW)
    round_.refresh_from_db()
    assert round_.outcome == "completed"
