"""Pools, what devices are like, and enrolment tokens."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from clients import services as client_services
from clients.models import Device, EnrolmentToken
from jobs.fleet import Figure
from tenants.scopes import system_scope
from tests.integration import factories

# Of the second test vector of RFC 8032.
PUBLIC_KEY = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"


def take_census(now=None):
    with system_scope():
        return client_services.take_census(now=now or timezone.now())


def memory_of(page):
    shown = page.context["devices"].distributions
    (memory,) = [one for one in shown if one.name == "memory_mb"]
    return [(bar.label, bar.figure.text) for bar in memory.bars]


def text_of(answer):
    return answer.content.decode()


def test_it_hides_small_counts_of_shared_pools(world, browse):
    for _ in range(4):
        factories.device(world.shared, os="linux")
    page = browse(world.viewer).get("/devices/")
    pool = next(one for one in page.context["fleet"].pools if one.name == "fleet")
    assert pool.devices.text == "<5"
    factories.device(world.shared, os="linux")
    page = browse(world.viewer).get("/devices/")
    pool = next(one for one in page.context["fleet"].pools if one.name == "fleet")
    assert pool.devices.text == "5"


def test_it_never_adds_a_hidden_count_to_a_known_one(world):
    assert Figure(own=3, shared=2).text == "<8"
    assert Figure(own=3, shared=4).text == "<8"
    assert Figure(own=3, shared=5).text == "8"
    assert Figure(own=3).text == "3"
    assert Figure(own=3, shared=2).drawn == Figure(own=3, shared=4).drawn


def test_it_tells_no_count_that_what_stands_beside_it_gives_away(world, browse):
    seen = [factories.device(world.shared, os="linux") for _ in range(3)]
    for number in range(43):
        factories.device(world.shared, os="linux" if number else "plan9")
    with system_scope():
        Device.objects.filter(id__in=[one.id for one in seen]).update(seen_at=timezone.now())
    page = browse(world.viewer).get("/devices/")
    fleet = page.context["fleet"]
    assert (fleet.devices.text, fleet.online.text) == ("46", "<5")
    parts = {one.kind: one.figure.text for one in fleet.segments}
    assert parts == {"mine": "0", "others": "0", "idle": "<5", "offline": "42 to 45"}


def test_it_names_no_value_that_few_shared_devices_have(world, browse):
    for _ in range(6):
        factories.device(world.shared, region="north", memory_mb=3000)
    factories.device(world.shared, region="cabin-of-eve", memory_mb=3000)
    take_census()
    page = text_of(browse(world.viewer).get("/devices/"))
    assert "north" in page
    assert "cabin-of-eve" not in page
    assert "other values" in page


def test_it_shows_ranges_not_ends_where_values_are_many(world, browse):
    for number in range(12):
        factories.device(world.shared, memory_mb=2100 + number)
    take_census()
    page = browse(world.viewer).get("/devices/")
    assert memory_of(page) == [("2\u202f048 to 4\u202f096", "12")]


def test_a_pool_of_few_values_is_added_to_the_ranges_of_another(world, browse):
    for number in range(12):
        factories.device(world.shared, memory_mb=2100 + number)
    for memory in (3000, 4096, 4096):
        factories.device(world.private, memory_mb=memory)
    take_census()
    page = browse(world.viewer).get("/devices/")
    assert memory_of(page) == [
        ("2\u202f048 to 4\u202f096", "13"), ("4\u202f096 to 8\u202f192", "2"),
    ]  # fmt: skip


def test_a_pool_is_counted_again_only_when_its_devices_have_changed(world):
    assert take_census() == 2
    now = timezone.now()
    assert take_census(now) == 0
    device = factories.device(world.private, memory_mb=2048)
    with system_scope():
        Device.objects.filter(id=device.id).update(connected_at=now)
    assert take_census(now) == 1
    assert take_census(now + timedelta(minutes=1)) == 1  # it may have been committed late
    assert take_census(now + timedelta(minutes=2)) == 0


def test_it_lists_own_devices_by_name_and_shared_ones_never(world, browse):
    mine, shared = factories.device(world.private), factories.device(world.shared)
    with system_scope():
        Device.objects.filter(id=mine.id).update(seen_at=timezone.now())
    page = text_of(browse(world.owner).get("/devices/"))
    assert mine.name in page
    assert "Idle" in page
    assert shared.name not in page
    assert mine.name not in text_of(browse(world.stranger).get("/devices/"))


def test_it_finds_own_devices_by_name_and_page(world, browse):
    with system_scope():
        Device.objects.bulk_create(
            Device(
                tenant_id=world.tenant.id, pool=world.private, name=f"tablet-{number:03}",
                public_key=f"{number:064x}", enrolled_at=factories.NOW,
            )
            for number in range(1, 103)
        )  # fmt: skip
    browser = browse(world.owner)
    text = text_of(browser.get("/devices/"))
    assert "1 to 100 of 102" in text
    assert "tablet-102" not in text
    assert "tablet-102" in text_of(browser.get("/devices/", {"page": 2}))
    answer = browser.get("/devices/", {"name": "-102"})
    assert [one.name for one in answer.context["devices"].own.lines] == ["tablet-102"]
    assert "No device of yours is named “x”" in text_of(browser.get("/devices/", {"name": "x"}))


def create(browser, **changes):
    form = {"name": "Ward 3", "max_uses": 5, "days": 7} | changes
    return browser.post("/devices/tokens/", form)


def test_it_shows_a_token_once(world, browse):
    browser = browse(world.owner)
    answer = create(browser, pool=str(world.private.id))
    (secret,) = re.findall(r"--token (ppe_[\w-]{20,})", text_of(answer))
    assert answer.headers["Cache-Control"] == "no-store"
    with system_scope():
        device, is_new = client_services.enrol(
            token=secret, public_key=PUBLIC_KEY, sdk="propius 0", name="tablet", attributes={},
            now=timezone.now(),
        )  # fmt: skip
        assert is_new
        assert device.pool_id == world.private.id
    assert secret not in text_of(browser.get("/devices/"))


@pytest.mark.parametrize(
    "changes", [{"max_uses": 0}, {"max_uses": "x"}, {"days": -1}, {"name": ""}, {"pool": "x"}]
)
def test_it_names_what_is_wrong_and_creates_nothing(world, browse, changes):
    answer = create(browse(world.owner), **{"pool": str(world.private.id)} | changes)
    assert answer.status_code == 422
    assert 'class="fault"' in text_of(answer)
    with system_scope():
        assert not EnrolmentToken.objects.exists()


@pytest.mark.parametrize("pool", ["shared", "private"])
def test_it_makes_tokens_of_own_pools_only(world, browse, pool):
    answer = create(browse(world.stranger), pool=str(getattr(world, pool).id))
    assert answer.status_code == 422
    with system_scope():
        assert not EnrolmentToken.objects.exists()


def test_it_lets_viewers_look_only(world, browse):
    browser = browse(world.viewer)
    assert create(browser, pool=str(world.private.id)).status_code == 403
    assert browser.post("/devices/pools/", {"name": "mine"}).status_code == 403
    assert "Create the token" not in text_of(browser.get("/devices/"))


def test_each_field_has_an_id_of_its_own(world, browse):
    ids = re.findall(r' id="([^"]+)"', text_of(browse(world.owner).get("/devices/")))
    assert len(ids) == len(set(ids))


def test_it_creates_a_private_pool_once(world, browse):
    browser = browse(world.owner)
    assert "Created the pool ward-4" in text_of(
        browser.post("/devices/pools/", {"name": "ward-4"}, follow=True)
    )
    again = browser.post("/devices/pools/", {"name": "ward-4"})
    assert again.status_code == 422
    assert "is taken" in text_of(again)


def test_it_revokes_own_tokens_only(world, browse):
    create(browse(world.owner), pool=str(world.private.id))
    with system_scope():
        token = EnrolmentToken.objects.get()
    address = f"/devices/tokens/{token.id}/revoke/"
    assert browse(world.stranger).post(address).status_code == 404
    assert "Revoked." in text_of(browse(world.owner).post(address, follow=True))
    with system_scope():
        token.refresh_from_db()
    assert token.revoked_at
