"""Gateways bind and commit while planners plan and Redis is emptied: never one device too many."""

import threading

import pytest
from django.db import connection

from jobs.models import Assignment, Round
from scheduling import services
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
        while mine and not done.is_set():
            batch, mine = mine[:6], mine[6:]
            # Whoever got nothing asks again, as an idle socket is offered again.
            with system_scope():
                answers = fleet.bind(len(batch), devices=batch)
            got = {
                one for one, answer in zip(batch, answers, strict=True) if answer_is_round(answer)
            }
            mine = mine + [one for one in batch if one not in got]

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


def answer_is_round(answer):
    return isinstance(answer, str)


def wait_until_full(done):
    for _ in range(200):
        with system_scope():
            assigned = [row.assigned for row in Round.objects.all()]
        if done.wait(0.05) or assigned == [TARGET] * 2:
            return
