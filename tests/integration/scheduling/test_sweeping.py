"""The sweep's steps stand alone: one that fails holds up no other."""

import logging

import pytest
from django.db import OperationalError, connection

from scheduling import admission, keys, selectors, services
from scheduling.models import FleetMinute
from tenants.scopes import system_scope
from tests.integration.factories import NOW


@pytest.fixture
def system_role(transactional_db):
    """Work outside a transaction and as the system role, as the scheduling worker does."""
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE propius_system")


def test_a_step_that_fails_is_logged_and_the_later_ones_are_done(system_role, redis, caplog):
    redis.set(keys.PROFILES_SEEN, "no sorted set")
    with caplog.at_level(logging.ERROR, "scheduling.services"):
        services.sweep(now=NOW)
    assert [(one.message, one.step) for one in caplog.records] == [
        ("sweep.step", "forget_profiles")
    ]
    assert selectors.plan_state() is not None
    assert FleetMinute.objects.exists()


def test_steps_that_take_long_are_no_outage(system_role, redis, caplog, monkeypatch):
    services.sweep(now=NOW)

    def long(*, now):
        redis.delete(keys.SWEEP)  # as it lapses by itself

    monkeypatch.setattr(admission, "admit_new", long)
    services.sweep(now=NOW)
    caplog.clear()
    services.sweep(now=NOW)
    assert "sweep.after_outage" not in caplog.messages
    redis.delete(keys.SWEEP)
    services.sweep(now=NOW)
    assert "sweep.after_outage" in caplog.messages


def test_a_step_that_fails_in_the_callers_transaction_ends_the_sweep(transactional_db, redis):
    redis.set(keys.PROFILES_SEEN, "no sorted set")
    with pytest.raises(Exception, match="WRONGTYPE"), system_scope():
        services.sweep(now=NOW)
    assert selectors.plan_state() is None


def test_a_lost_database_ends_the_sweep(system_role, redis):
    """Each further step would only wait for a connection once more."""
    with connection.cursor() as cursor, pytest.raises(OperationalError):
        cursor.execute("RESET ROLE; SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(OperationalError):
        services.sweep(now=NOW)
    connection.close()
    assert selectors.plan_state() is None
