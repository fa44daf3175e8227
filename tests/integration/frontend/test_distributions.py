"""What devices are like: told alike by the page and the API, and by no way more than there is."""

import pytest
from django.utils import timezone

from clients import services as client_services
from clients.models import PoolCensus
from tenants.scopes import system_scope
from tests.integration import factories


@pytest.fixture
def shown(browse):
    """Return a function that takes a census and asks the page: bars by attribute."""

    def ask(user):
        with system_scope():
            PoolCensus.objects.all().delete()
            client_services.take_census(now=timezone.now())
        found = browse(user).get("/devices/").context["devices"].distributions
        return {one.name: one.bars for one in found}

    return ask


@pytest.fixture
def told(browse):
    """Return a function that asks the API: bars by attribute."""

    def ask(user, **query):
        answer = browse(user).get("/api/v1/attributes/distributions", query)
        assert answer.status_code == 200
        return {one["name"]: one["bars"] for one in answer.json()}

    return ask


def devices(pool, **regions):
    for region, count in regions.items():
        for _ in range(count):
            factories.device(pool, region=region)


def regions(bars):
    return {
        one["value"]: (one["devices"]["at_least"], one["devices"]["at_most"])
        for one in bars["region"]
    }


def texts(bars):
    return {one.label: one.figure.text for one in bars["region"]}


def test_the_api_tells_what_the_page_shows(world, shown, told):
    devices(world.shared, north=20, south=3)
    devices(world.private, north=2, east=1)
    for number in range(12):
        factories.device(world.shared, memory_mb=2100 + 400 * number)
    for user in (world.viewer, world.stranger):
        page, api = shown(user), told(user)
        assert set(page) == set(api)
        for name, bars in page.items():
            assert [one["devices"] for one in api[name]] == [
                {"at_least": bar.figure.least, "at_most": bar.figure.most} for bar in bars
            ]
    assert {"value": None, "low": 4096.0, "high": 8192.0} in [
        {key: one[key] for key in ("value", "low", "high")} for one in api["memory_mb"]
    ]


def test_what_is_told_of_one_pool_and_of_all_leaves_small_counts_open(world, shown, told):
    devices(world.shared, north=20, south=3)
    other = factories.pool(name="more")
    devices(other, north=20, south=20)
    assert texts(shown(world.viewer)) == {
        "north": "39 to 42", "south": "20", "other values": "<5",
    }  # fmt: skip
    assert regions(told(world.viewer, pool="more")) == {"north": (20, 20), "south": (20, 20)}
    first = regions(told(world.viewer, pool=str(world.shared.id)))
    assert first == {"north": (19, 22), None: (1, 4)}


def test_a_device_of_ones_own_draws_out_no_rare_value(world, shown):
    devices(world.shared, north=20, south=3, east=4)
    before = texts(shown(world.viewer))
    assert before == {"north": "20", "other values": "7"}
    devices(world.private, south=1)
    assert texts(shown(world.viewer)) == before | {"south": "1"}


def test_a_pool_is_told_by_name_or_id_and_none_that_the_tenant_may_not_use(world, shown, told):
    devices(world.private, north=1)
    shown(world.viewer)
    for pool in (world.private.name, str(world.private.id)):
        assert regions(told(world.viewer, pool=pool)) == {"north": (1, 1)}
        assert told(world.stranger, pool=pool) == {}
    assert told(world.viewer, pool="nowhere") == {}
