"""Gateways bind and commit while planners plan and Redis is emptied: never one device too many."""

import threading
from uuid import UUID

import pytest
from django.db import connection

from jobs.models import Assignment, Round
from scheduling import services
from scheduling.binding import Bound
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW
from tests.integration.scheduling.test_planning import Fleet

GATEWAYS, TARGET = 3, 60


@pytest.mark.django_db(transaction=True)
def test_rounds_fill_exactly_however_gateways_and_planners_interleave(redis):
    tenant = factories.tenant()
    fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
    fleet.register()
    jobs = [factories.job(tenant, rounds__demand=TARGET, name=f"job-{n}") for n in range(2)]
    devices = [[fleet.device() for _ in range(TARGET)] for _ in range(GATEWAYS)]
    done = threading.Event()
    faults = []

    def gateway(mine):
        waiting = {str(one.id): one for one in mine}
        while waiting and not done.is_set():
            asked = fleet.ask(list(waiting.values())[:6])
            granted = [one for one in asked if isinstance(one[1], Bound)]
            with system_scope():
                outcomes = fleet.assign(granted)
            fleet.settle(granted, outcomes)
            for request, _ in asked:
                # Whoever got nothing goes to the end and asks again, as an idle socket would.
                device = waiting.pop(request.device_id)
                if outcomes.get(UUID(request.assignment_id)) != "assigned":
                    waiting[request.device_id] = device

    def planner():
        while not done.is_set():
            with system_scope():
                services.plan(now=NOW)

    def guarded(work, *arguments):
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - a thread's edge: shown by the test
            faults.append(error)
            done.set()
        finally:
            connection.close()

    threads = [threading.Thread(target=guarded, args=(gateway, one)) for one in devices]
    threads += [threading.Thread(target=guarded, args=(planner,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    done.wait(1.0)
    redis.flushall()
    fleet.register()
    wait_until_full(done)
    done.set()
    for thread in threads:
        thread.join(20)
    assert faults == []
    with system_scope():
        rows = list(Round.objects.filter(job__in=jobs))
        assert [(row.assigned, row.target) for row in rows] == [(TARGET, TARGET)] * 2
        bound = Assignment.objects.values_list("device_id", flat=True)
        assert len(bound) == len(set(bound)) == 2 * TARGET


def wait_until_full(done):
    for _ in range(200):
        with system_scope():
            assigned = [row.assigned for row in Round.objects.all()]
        if done.wait(0.05) or assigned == [TARGET] * 2:
            return
