"""The operator pauses and stops the whole fleet: nothing new is bound, and no round fails by it."""

from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction

from frontend import explanation
from jobs import maintenance
from jobs import services as job_services
from jobs.models import Assignment, Maintenance, Round
from scheduling import explaining, services
from scheduling.binding import Nothing
from tenants import scopes
from tenants.models import AuditEntry
from tests.integration import factories
from tests.integration.factories import NOW, later
from tests.integration.scheduling.test_planning import Fleet

PAUSED, STOPPED, NORMAL = Maintenance.Mode.PAUSED, Maintenance.Mode.STOPPED, Maintenance.Mode.NORMAL
REASON = "the network is rewired"


def ask(mode, at=NOW, reason=REASON):
    return job_services.set_maintenance(mode=mode, reason=reason, author="op", now=at)


@pytest.fixture
def held(redis):
    """Return a job whose round has one device of five, and a fleet that asks for more work."""
    with scopes.system_scope():
        fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
        fleet.register()
        job = factories.job(factories.tenant(), rounds__demand=5)
        services.plan(now=NOW)
        fleet.bind(1)
        yield job, fleet


def explained(job):
    job.refresh_from_db()
    return explaining.explain(job, now=NOW)


@pytest.mark.parametrize("mode", [PAUSED, STOPPED])
def test_nothing_new_is_bound_until_normal_times_return(held, mode):
    job, fleet = held
    ask(mode)
    assert services.plan(now=later(1)).open == {}
    assert fleet.bind(3) == [Nothing()] * 3
    ask(NORMAL, later(2))
    services.plan(now=later(2))
    assert fleet.bind(3) == [str(factories.open_round(job).id)] * 3


def test_those_at_work_go_on_while_new_rounds_are_paused(held):
    ask(PAUSED)
    services.sweep(now=later(1))
    assert Assignment.objects.get().status == Assignment.Status.BOUND


def test_a_stop_calls_back_what_is_bound_and_what_was_on_its_way(held):
    job, fleet = held
    ask(STOPPED)
    first = Assignment.objects.get()
    assert (first.status, first.code) == (Assignment.Status.CANCELLED, "fleet_stopped")
    assert factories.open_round(job).assigned == 0
    late = fleet.device()
    late_id = uuid4()
    granted = job_services.Binding(late_id, factories.open_round(job).id, late.id, 1)
    job_services.assign(bindings=[granted], now=NOW)
    services.sweep(now=later(1))
    assert Assignment.objects.get(id=late_id).status == Assignment.Status.CANCELLED


def test_no_round_fails_while_the_fleet_is_held_and_its_time_begins_anew_after(held):
    job, _ = held
    before = factories.open_round(job)
    window_s = before.selection_s
    ask(PAUSED)
    for seconds in range(0, int(3 * window_s), max(1, int(window_s) - 4)):
        job_services.uphold(now=later(seconds))
        job_services.sweep(now=later(seconds))
    back = later(3 * window_s)
    ask(NORMAL, back)
    round_ = factories.open_round(job)
    assert (round_.id, round_.status) == (before.id, Round.Status.SELECTING)
    assert (round_.selection_ends_at - back).total_seconds() == window_s


def test_the_wait_is_explained_with_the_operators_reason(held):
    job, _ = held
    assert explained(job).code == "waiting_for_devices"
    ask(PAUSED)
    found = explained(job)
    assert found.code == "maintenance"
    assert found.message.startswith(f"the operator has paused new rounds: {REASON}")
    [(term, sentence)] = explanation.facts(found)
    assert term == "Maintenance"
    assert sentence.startswith(f"The operator has paused new rounds: {REASON}")
    ask(STOPPED)
    assert explained(job).message.startswith("the operator has stopped the fleet: ")
    ask(NORMAL)
    assert explained(job).code == "waiting_for_devices"


def test_a_change_is_audited_and_can_be_taken_back(held):
    first = ask(PAUSED)
    ask(NORMAL, reason="done")
    job_services.revert_maintenance(maintenance_id=first.id, author="eve", now=later(1))
    assert maintenance.in_force().mode == PAUSED
    entry = AuditEntry.objects.filter(action="maintenance.set").latest("id")
    assert (entry.actor, entry.target) == ("eve", "paused")
    assert REASON in entry.detail["reason"]


def test_it_asks_for_a_mode_and_a_reason(held):
    with pytest.raises(job_services.MaintenanceInvalid) as refused:
        ask("off", reason=" ")
    assert set(refused.value.errors) == {"mode", "reason"}
    assert not Maintenance.objects.exists()


def test_tenants_read_it_and_cannot_write_it():
    tenant = factories.tenant()
    with scopes.system_scope():
        ask(PAUSED)
    with scopes.scope(tenant.id):
        assert maintenance.in_force().reason == REASON
        assert Maintenance.objects.update(mode=NORMAL) == 0
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            Maintenance.objects.create(mode=NORMAL, reason="x", author="me", created_at=NOW)
