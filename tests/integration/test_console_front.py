"""The console's front page and its sidebar: what is so now, what needs a look, where all stands."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from aggregation.models import Leaf
from clients.models import Device
from jobs import services as job_services
from jobs.models import Round
from propius_site import console_menu, seeding
from scheduling import services
from tenants import scopes
from tenants.models import Delivery, Webhook
from tests.integration import factories

MODELS = {f"{one._meta.app_label}.{one.__name__}" for one in admin.site._registry}


@pytest.fixture
def operator(client, db):
    client.force_login(User.objects.create_superuser("op"))
    with scopes.system_scope():
        yield client


def told(operator, part):
    return [one.text for one in operator.get("/admin/").context[part]]


def test_every_page_stands_in_the_sidebar_once(operator):
    pages = [one for group in console_menu.GROUPS.values() for one in group]
    assert sorted(one for one in pages if one != console_menu.PREVIEW) == sorted(MODELS)
    shown = operator.get("/admin/").content.decode()
    for one in pages:
        if one != console_menu.PREVIEW:
            meta = apps.get_model(one)._meta
            assert f'href="/admin/{meta.app_label}/{meta.model_name}/"' in shown
    assert 'href="/admin/scheduling/sharingpolicy/preview/"' in shown


def test_it_says_what_runs_what_waits_and_what_is_in_force(operator):
    tenant = factories.tenant()
    busy = factories.job(tenant, name="busy")
    Round.objects.filter(job=busy).update(status="executing")
    factories.job(tenant, name="waits")
    services.set_policy(
        name="fifo", parameters={}, author="eve", reason="short jobs", now=factories.NOW
    )
    found = {one.term: one for one in operator.get("/admin/").context["now"]}
    assert (found["Jobs at work"].text, found["Jobs waiting"].text) == ("1", "1")
    assert found["Jobs waiting"].link == "/admin/scheduling/waitingjob/"
    policy, maintenance = operator.get("/admin/").context["in_force"]
    assert policy.text == "fifo"
    assert policy.why == "by eve, 2026-01-02 03:04 UTC: short jobs"
    assert maintenance.text == "none: devices are bound"
    job_services.set_maintenance(mode="paused", reason="cables", author="eve", now=factories.NOW)
    assert "cables" in told(operator, "in_force")[1]


def test_it_leads_to_what_needs_a_look(operator):
    now = timezone.now()
    assert told(operator, "look") == ["No gateway is alive: no device can be bound"]
    tenant = factories.tenant()
    job = factories.job(tenant)
    Round.objects.filter(job=job).update(
        status="finished", outcome="failed", closed_at=now, finished_at=now
    )
    Leaf.objects.create(
        name="north", url="https://n.example.org", digest="a" * 64, start="x", created_at=now
    )
    hook = Webhook.objects.create(
        tenant=tenant, url="https://h.example.org", secret=b"", created_by="x", created_at=now,
        read_up_to=0,
    )  # fmt: skip
    Delivery.objects.create(
        tenant=tenant, webhook=hook, event=1, kind="job.failed", body={}, attempts=3, next_at=now,
        created_at=now,
    )  # fmt: skip
    job_services.put_in_quarantine(
        kind="workload", target="train", reason="x", author="op", now=now
    )
    lines = operator.get("/admin/").context["look"]
    assert [one.text for one in lines][-4:] == [
        "The leaf north has been silent from the start", "1 round failed in the last hour",
        "1 webhook did not arrive since yesterday", "1 quarantine in force",
    ]  # fmt: skip
    for one in lines:
        answer = operator.get(one.link)
        assert answer.status_code == 200, one.link
        if "round" in one.text or "quarantine in" in one.text:
            assert answer.context["cl"].result_count == 1


def test_who_may_not_see_the_rows_does_not_see_the_line(client, db):
    person = User.objects.create_user("night", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename="view_round"))
    client.force_login(person)
    page = client.get("/admin/")
    assert page.context["now"] == page.context["look"] == []
    assert '"/admin/clients/device/"' not in page.content.decode()


def test_it_asks_as_often_for_much_as_for_little(operator):
    def cost():
        with CaptureQueriesContext(connection) as queries:
            assert operator.get("/admin/").status_code == 200
        return len(queries)

    cost()
    few = cost()
    seeding.seed(seeding.Size(jobs=12, rounds=36, devices=60), slug="many", now=timezone.now())
    Device.objects.update(seen_at=timezone.now() - timedelta(seconds=1))
    assert cost() == few
    assert few <= 25


def test_the_times_in_lists_name_their_zone(operator):
    factories.pool(None, "wards")
    assert "2026-01-02 03:04:05 UTC" in operator.get("/admin/clients/pool/").content.decode()


def test_the_history_marks_what_is_in_force_and_offers_only_the_rest(operator):
    for reason in ("first", "second"):
        services.set_policy(
            name="fifo", parameters={}, author="op", reason=reason, now=factories.NOW
        )
        job_services.set_maintenance(mode="normal", reason=reason, author="op", now=factories.NOW)
    for path in ("scheduling/sharingpolicy", "jobs/maintenance"):
        page = operator.get(f"/admin/{path}/")
        newest, old = page.context["cl"].result_list[:2]
        shown = page.content.decode()
        assert (newest.is_in_force, old.is_in_force) == (True, False)
        assert f"/admin/{path}/{old.id}/revert/" in shown
        assert f"/admin/{path}/{newest.id}/revert/" not in shown


def test_no_page_asks_for_the_scripts_that_are_left_out():
    assert not [one for one in admin.site._registry.values() if one.prepopulated_fields]
    charts = [
        file
        for file in settings.BASE_DIR.glob("*/templates/**/*.html")
        if "components/chart" in file.read_text() or 'class="chart"' in file.read_text()
    ]
    assert [one for one in charts if one.parts[-2] in ("admin", "scheduling", "unfold")] == []


def test_an_empty_list_says_what_it_would_hold_and_the_way_on(operator):
    waiting = "/admin/scheduling/waitingjob/"
    assert "No job waits: each that is admitted" in operator.get(waiting).content.decode()
    narrowed = operator.get(waiting, {"q": "nothing like it"}).content.decode()
    assert "No waiting job matches the search and the filters." in narrowed
    pools = operator.get("/admin/clients/pool/").content.decode()
    assert "There is no pool yet." in pools
    assert 'href="/admin/clients/pool/add/">Add pool</a>' in pools
    audit = operator.get("/admin/tenants/auditentry/").content.decode()
    assert "rows appear here as the platform writes them" in audit
