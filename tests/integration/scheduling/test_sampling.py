"""What devices do, kept once a minute by pool."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clients.models import Device
from jobs import services as job_services
from scheduling import keys, sampling
from scheduling.models import PoolMinute
from tenants.scopes import scope, system_scope
from tests.integration import factories
from tests.integration.factories import NOW, later
from tests.integration.scheduling.test_planning import choose

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def system():
    with system_scope():
        yield


@pytest.fixture
def shared():
    return factories.pool(name="everybody")


def online(pool, count, **attributes):
    made = [factories.device(pool, **attributes) for _ in range(count)]
    Device.objects.filter(id__in=[one.id for one in made]).update(seen_at=NOW)
    return made


def bind(job, devices):
    round_ = factories.open_round(job)
    bindings = [job_services.Binding(uuid4(), round_.id, one.id, 1) for one in devices]
    job_services.assign(bindings=bindings, now=NOW)


def minute_of(pool):
    return PoolMinute.objects.get(pool=pool)


def test_it_keeps_one_row_a_pool_and_minute(shared):
    job = factories.job(factories.tenant())
    bind(job, online(shared, 9)[:4])
    factories.device(shared)
    assert sampling.sample(now=NOW) == 1
    assert sampling.sample(now=NOW + timedelta(seconds=20)) == 0
    assert sampling.sample(now=NOW + MINUTE) == 1
    row = PoolMinute.objects.get(pool=shared, at=NOW.replace(second=0))
    assert (row.devices, row.online, row.bound) == (10, 9, 4)
    # A train round asks for 6 devices and a quarter more, to be over-selected.
    assert row.by_tenant == {str(job.tenant_id): [4, row.wanted]}
    assert row.wanted == factories.open_round(job).target - 4


def test_a_round_is_wanted_at_one_pool_so_that_sums_hold(shared):
    tenant = factories.tenant()
    own = factories.pool(tenant)
    job = factories.job(tenant)
    sampling.sample(now=NOW)
    assert minute_of(shared).wanted == factories.open_round(job).target
    assert minute_of(own).wanted == 0


def test_it_averages_the_minutes_there_are_and_tells_a_tenants_part_apart(shared):
    mine, others = factories.job(factories.tenant()), factories.job(factories.tenant())
    devices = online(shared, 10)
    bind(mine, devices[:2])
    sampling.sample(now=NOW)
    bind(others, devices[2:6])
    sampling.sample(now=NOW + MINUTE)
    since = NOW.replace(hour=0, minute=0, second=0)
    asked = {"pools": [shared.id], "since": since, "until": since + timedelta(days=1)}
    (found,) = sampling.averages(tenant_id=mine.tenant_id, step=timedelta(minutes=15), **asked)
    assert (found.at, found.online, found.bound, found.mine) == (since.replace(hour=3), 5, 4, 2)
    found = sampling.averages(tenant_id=others.tenant_id, step=MINUTE, **asked)
    assert [one.mine for one in found] == [0, 4]


def test_it_counts_by_speed_tier_where_the_policy_tells_tiers_apart(shared, redis):
    fast, slow = online(shared, 6, cpu_score=8.0), online(shared, 7, cpu_score=1.0)
    bind(factories.job(factories.tenant()), [*fast[:5], slow[0]])
    redis.set(keys.TIERS, "[2, [24]]")
    sampling.sample(now=NOW)
    assert minute_of(shared).tiers == []
    choose(policy="irs", parameters={"tiers": 2})
    sampling.sample(now=later(56))
    (row,) = sampling.newest(pools=[shared.id], since=NOW)
    assert row.tiers == [[7.95, 6, 5], [0.0, 7, 1]]


def test_old_minutes_go(shared):
    sampling.sample(now=NOW)
    sampling.sample(now=NOW + sampling.KEPT + MINUTE)
    assert [one.at for one in PoolMinute.objects.all()] == [
        (NOW + sampling.KEPT + MINUTE).replace(second=0)
    ]


def test_it_asks_as_often_for_many_devices_pools_and_rounds(shared):
    def queries(now):
        with CaptureQueriesContext(connection) as seen:
            sampling.sample(now=now)
        return len(seen)

    few = queries(NOW)
    for _ in range(3):
        tenant = factories.tenant()
        online(factories.pool(tenant), 3)
        bind(factories.job(tenant), online(shared, 2))
    assert queries(NOW + MINUTE) == few <= 12


def test_a_tenant_reads_the_rows_of_its_own_pools_only(shared):
    mine, theirs = factories.tenant(), factories.tenant()
    own, _ = factories.pool(mine), factories.pool(theirs)
    sampling.sample(now=later(0))
    with scope(mine.id):
        connection.cursor().execute("SET LOCAL ROLE propius_app")
        assert [one.pool_id for one in PoolMinute.objects.all()] == [own.id]
        connection.cursor().execute("SET LOCAL ROLE propius_system")
