"""The console's list of waiting jobs: those that wait, why, at the same price for any number."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import services as job_services
from jobs.models import Job, Round
from scheduling import services, waits
from tenants import scopes
from tests.integration import factories
from tests.integration.factories import NOW, later
from tests.integration.scheduling.test_explaining import beat
from tests.integration.scheduling.test_planning import Fleet, choose

LIST = "/admin/scheduling/waitingjob/"


@pytest.fixture
def operator(client, db):
    client.force_login(User.objects.create_superuser("op"))
    with scopes.system_scope():
        Fleet(factories.pool(None, "everybody"), memory_mb=1024).register()
        yield client


def listed(operator):
    return {row.name: row.why for row in operator.get(LIST).context["cl"].result_list}


def test_it_lists_those_that_wait_and_says_why_each_does(operator):
    tenant = factories.tenant()
    factories.job(tenant, name="queued", admitted=False)
    paused = factories.job(tenant, name="paused")
    job_services.pause(job_id=paused.id, actor="x", now=NOW)
    busy = factories.job(tenant, name="training")
    Round.objects.filter(job=busy).update(status="executing", assigned=6, deadline_at=later(20))
    factories.job(tenant, name="first")
    last = factories.job(tenant, name="second", now=later(1), rounds__demand=5)
    services.set_share(tenant_id=tenant.id, weight=1, guarantee=0, ceiling=0, author="op", now=NOW)
    choose(policy="fifo")
    services.plan(now=later(3))
    beat(last, idle=3, busy=0)
    assert listed(operator) == {
        "queued": "waiting for the program's check and admission",
        "paused": "paused: no new devices are selected",
        "first": "waiting for devices: 0 of 6 bound; its tenant holds 0 of 0 devices allowed; "
        "3 devices that fit are free; next",
        "second": "waiting for devices: 0 of 5 bound; its tenant holds 0 of 0 devices allowed; "
        "3 devices that fit are free; 1 round ahead",
    }  # fmt: skip
    assert operator.get(f"{LIST}{busy.id}/change/").status_code == 200


def test_while_the_fleet_is_stopped_those_at_work_wait_too(operator):
    busy = factories.job(factories.tenant(), name="training")
    Round.objects.filter(job=busy).update(status="executing", assigned=6, deadline_at=later(20))
    assert listed(operator) == {}
    job_services.set_maintenance(mode="stopped", reason="smoke", author="op", now=NOW)
    assert "smoke" in listed(operator)["training"]


def test_it_costs_as_many_queries_whatever_its_length(operator):
    def cost():
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(LIST).status_code == 200
        return len(queries)

    factories.job(factories.tenant())
    first = cost()
    for number in range(4):
        tenant = factories.tenant()
        job = factories.job(tenant, name=f"idle-{number}")
        factories.job(tenant)
        Round.objects.filter(job=job).update(
            status="finished", outcome="completed", finished_at=NOW, closed_at=NOW
        )
    assert cost() == first


def test_one_in_full_is_told_in_words(operator):
    tenant = factories.tenant("south")
    services.set_share(
        tenant_id=tenant.id, weight=2, guarantee=3, ceiling=None, author="op", now=NOW
    )
    factories.job(factories.tenant("north"), name="first-one")
    mine = factories.job(tenant, name="second-one", now=later(1))
    choose(policy="fifo")
    services.plan(now=later(3))
    beat(mine, idle=7, busy=9)
    page = operator.get(f"{LIST}{mine.pk}/change/").content.decode()
    for text in (
        "6 more needed; of those that fit its constraints 7 connected and free, 9 at other work",
        "1 round ahead with 6 open slots. Policy fifo: First in, first out",
        "first-one of north (6 slots, by fifo)",
        "by its weight of 2 it has a part of 67 %; 3 guaranteed, all of them lent while idle",
    ):
        assert text in page
    assert "TenantPart" not in page
    assert "{&#x27;" not in page


def test_who_waits_has_a_filter_of_its_own(operator):
    job = factories.job(factories.tenant())
    assert list(Job.objects.filter(waits.that_wait())) == [job]
