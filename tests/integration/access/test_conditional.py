"""ETags, pages and filters of lists."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.models import Device
from tenants.scopes import system_scope
from tests.integration import factories


@pytest.fixture
def acme(db):
    return factories.tenant("acme")


@pytest.fixture
def get(client, acme):
    headers = {"Authorization": f"Bearer {factories.token(acme)}"}

    def get(path, **more):
        return client.get(f"/api/v1/{path}", headers=headers | more)

    return get


def test_what_has_not_changed_is_not_sent_again(acme, get):
    first = get("pools")
    etag = first.headers["ETag"]
    assert etag.startswith('W/"')
    assert first.headers["Cache-Control"] == "private, no-cache"
    for given_ in (etag, etag.removeprefix("W/"), f'"x", {etag}', "*"):
        again = get("pools", **{"If-None-Match": given_})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    factories.pool(acme)
    changed = get("pools", **{"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


def test_every_json_answer_of_a_get_has_one(acme, get):
    job = factories.job(acme)
    paths = ["me", "tokens", "pools", "devices", "jobs", f"jobs/{job.id}", "policy", "schema/"]
    paths += ["fleet", "fleet/day", "attention", "attributes/distributions"]
    for path in paths:
        answer = get(path)
        assert get(path, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304, path
    assert "ETag" not in get("pools?page_size=1&cursor=x").headers


@settings(
    max_examples=12, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=6), added=st.integers(0, 3))
def test_pages_have_no_gap_and_no_repeat_while_rows_are_added(acme, get, sizes, added):
    """Whatever the page sizes, and though new rows come in between."""
    with system_scope():
        Device.objects.all().delete()
    pool = factories.pool(acme)
    made = [str(factories.device(pool).id) for _ in range(11)]
    seen, turn, path = [], 0, f"devices?page_size={sizes[0]}"
    while path:
        page = get(path).json()
        assert len(page["results"]) <= sizes[turn % len(sizes)]
        seen += [one["id"] for one in page["results"]]
        if turn < added:
            factories.device(pool)
        turn += 1
        path = page["next"] and re.sub(
            r"page_size=\d+", f"page_size={sizes[turn % len(sizes)]}", page["next"].split("/v1/")[1]
        )
    assert seen == sorted(made, reverse=True)


def test_devices_are_listed_by_status_pool_name_and_presence(acme, get):
    wards, beds = factories.pool(acme, "wards"), factories.pool(acme, "beds")
    first, second, third = (factories.device(one) for one in (wards, wards, beds))
    with system_scope():
        Device.objects.filter(id=first.id).update(seen_at=timezone.now(), name="Pump 7")
        Device.objects.filter(id=second.id).update(seen_at=timezone.now() - timedelta(minutes=5))
        Device.objects.filter(id=third.id).update(status="revoked")

    def found(query):
        return {one["id"] for one in get(f"devices?{query}").json()["results"]}

    ids = [str(one.id) for one in (first, second, third)]
    assert found("") == set(ids)
    assert found("status=revoked") == {ids[2]}
    assert found("pool=wards") == found(f"pool={wards.id}") == set(ids[:2])
    assert found("pool=nowhere") == set()
    assert found("name=pump") == {ids[0]}
    assert found("online=true") == {ids[0]}
    assert found("online=false") == set(ids[1:])
    assert found("pool=wards&online=false") == {ids[1]}
    for wrong in ("status=asleep", "online=maybe", "name=%00"):
        assert get(f"devices?{wrong}").status_code == 400, wrong
