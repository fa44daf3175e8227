"""Who sees which page, and what is on it."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jobs import services as job_services
from jobs.models import Assignment, Job, Round
from tenants.authentication import SESSION_TENANT
from tenants.scopes import system_scope
from tests.integration import factories

PAGES = ("overview", "jobs", "devices")


@pytest.mark.parametrize("name", PAGES)
def test_it_asks_the_anonymous_to_sign_in(world, name):
    address = reverse(f"frontend:{name}")
    assert Client().get(address).headers["Location"] == f"/sign-in/?next={address}"


@pytest.mark.parametrize("persona", ["owner", "viewer"])
@pytest.mark.parametrize("name", PAGES)
def test_it_shows_members_each_page(world, browse, name, persona):
    answer = browse(getattr(world, persona)).get(reverse(f"frontend:{name}"))
    assert answer.status_code == 200
    assert "North" in answer.content.decode()


@pytest.mark.parametrize("name", ["overview", "jobs"])
def test_it_shows_a_job_to_its_own_tenant_only(world, browse, name):
    address = reverse(f"frontend:{name}")
    assert "digits-mlp" in browse(world.viewer).get(address).content.decode()
    assert "digits-mlp" not in browse(world.stranger).get(address).content.decode()


def test_it_shows_a_job_to_members_and_nothing_to_strangers(world, browse):
    address = reverse("frontend:job", args=[world.job.id])
    assert "digits-mlp" in browse(world.owner).get(address).content.decode()
    assert "digits-mlp" in browse(world.viewer).get(address).content.decode()
    hidden = browse(world.stranger).get(address)
    assert hidden.status_code == 404
    assert "digits-mlp" not in hidden.content.decode()
    assert Client().get(address).status_code == 302


def test_it_works_as_the_app_role_behind_the_wall(world, browse):
    browse(world.stranger).get(reverse("frontend:jobs"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == ("propius_app",)
    assert not Job.objects.exists()  # no filter here: only the wall hides it


def test_it_offers_actions_to_those_who_may_act(world, browse):
    address = reverse("frontend:job", args=[world.job.id])
    assert "do-pause" in browse(world.owner).get(address).content.decode()
    assert "do-pause" not in browse(world.viewer).get(address).content.decode()


def test_it_has_no_page_for_people_without_a_tenant(world, browse, django_user_model):
    nobody = django_user_model.objects.create_user("nobody", password="x")
    answer = browse(nobody).get("/")
    assert answer.status_code == 403
    assert "no tenant" in answer.content.decode()


def test_it_switches_tenants_of_ones_own_only(world, browse):
    with system_scope():
        from tenants import services

        services.add_member(tenant=world.other, user=world.owner, role="viewer", now=factories.NOW)
    browser = browse(world.owner)
    browser.post("/tenant/", {"tenant": str(world.other.id)})
    assert browser.session[SESSION_TENANT] == str(world.other.id)
    assert "digits-mlp" not in browser.get("/jobs/").content.decode()
    browser = browse(world.stranger)
    assert browser.post("/tenant/", {"tenant": str(world.tenant.id)}).status_code == 404


def test_it_signs_in_by_the_form_and_follows_next_within_the_site(world):
    form = {"username": "ada", "password": "correct horse"}
    inside = Client().post("/sign-in/", form | {"next": "/jobs/"})
    assert inside.headers["Location"] == "/jobs/"
    outside = Client().post("/sign-in/", form | {"next": "https://elsewhere.example/"})
    assert outside.headers["Location"] == "/"
    wrong = Client().post("/sign-in/", form | {"password": "wrong"})
    assert wrong.status_code == 200
    assert 'role="alert"' in wrong.content.decode()


def test_it_refuses_forms_without_the_csrf_token(world):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(world.owner)
    address = reverse("frontend:job-cancel", args=[world.job.id])
    assert browser.post(address).status_code == 403


@pytest.mark.parametrize("address", ["/", "/jobs/", "/devices/", "/sign-in/", "/nowhere/"])
def test_it_sends_a_policy_that_allows_nothing_inline(world, browse, address):
    answer = browse(world.owner).get(address)
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    page = answer.content.decode()
    assert not re.search(r"<[^>]+ style=", page)
    assert not re.search(r"<[^>]+ on[a-z]+=", page)
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    inline = re.findall(r"<script(?![^>]*src=)([^>]*)>", page)
    assert all("application/json" in attributes for attributes in inline)


def test_it_draws_loss_and_accuracy_by_round(world, browse, finished_rounds):
    job = factories.job(world.tenant, admitted=False, name="drawn", rounds__count=9)
    finished_rounds(job, 1, 3)
    answer = browse(world.viewer).get(reverse("frontend:job", args=[job.id]))
    series = answer.context["measured"].own
    assert [point.number for point in series["train", "loss"]] == [1, 2, 3]
    assert [point.value for point in series["train", "loss"]] == [1, 1 / 2, 1 / 3]
    assert series["evaluate", "accuracy"][-1].value == 0.75
    page = answer.content.decode()
    assert [panel.name for panel in answer.context["measured"].panels] == ["accuracy", "loss"]
    assert page.count("<polyline") == 4
    assert "75.0\u202f%" in page
    assert "evaluation, round 3" in page


def test_it_shows_devices_of_the_open_round_by_pseudonym(world, browse):
    device = factories.device(world.shared)
    with system_scope():
        Assignment.objects.create(
            tenant=world.tenant,
            job=world.job,
            round=world.round,
            device=device,
            phase="training",
            fraction=0.4,
            bound_at=factories.NOW,
            accepted_at=factories.NOW,
            lease_expires_at=factories.later(30),
        )
        Round.objects.filter(id=world.round.id).update(assigned=1)
    page = browse(world.viewer).get(reverse("frontend:job", args=[world.job.id])).content.decode()
    assert "1 of 6 devices bound" in page
    assert re.search(r"<code>d-[0-9a-f]{8}</code></a><span>Training</span>", page)
    assert 'value="40"' in page
    assert device.name not in page
    assert str(device.id) not in page


def test_it_tells_of_an_asynchronous_job_by_its_buffer(world, browse):
    job = factories.job(world.tenant, strategy={"name": "fedbuff", "buffer_size": 5})
    with system_scope():
        Round.objects.filter(job=job).update(assigned=4, reported=2, target=8)
    page = browse(world.viewer).get(reverse("frontend:job", args=[job.id])).content.decode()
    assert "Buffer 1: 2 of 5 updates, 2 of 6 devices at work." in page
    assert "2 of 6 devices at work · 2 of 5 reported" in page


def test_it_says_why_a_job_was_rejected(world, browse):
    job = factories.job(world.tenant, admitted=False, name="too-big")
    with system_scope():
        job_services.reject(
            job_id=job.id, code="infeasible", message="0 of 4 devices fit, 6 needed",
            now=factories.NOW,
        )  # fmt: skip
        Job.objects.filter(id=job.id).update(finished_at="2099-01-01T00:00Z")
    page = browse(world.owner).get("/").content.decode()
    assert "1 job waits; 2 jobs need a look." in page  # nobody is there for the other
    assert "0 of 4 devices fit, 6 needed" in page


def test_it_filters_by_state_and_searches_by_name(world, browse):
    factories.job(world.tenant, name="other-job")
    browser = browse(world.viewer)
    found = browser.get("/jobs/?q=DIGITS").content.decode()
    assert "digits-mlp" in found
    assert "other-job" not in found
    none = browser.get("/jobs/?state=completed").content.decode()
    assert "No job fits" in none
    assert browser.get("/jobs/?state=nonsense&page=-3&q=%00").status_code == 200


def test_it_says_what_to_do_where_there_is_nothing(world, browse):
    browser = browse(world.stranger)
    assert "propius job submit" in browser.get("/jobs/").content.decode()
    assert "propius job submit" in browser.get("/").content.decode()


def test_it_gives_a_page_that_asks_only_the_sections(world, browse):
    address = reverse("frontend:job", args=[world.job.id])
    answer = browse(world.viewer).get(address, headers={"X-Propius-Sections": "1"})
    page = answer.content.decode()
    assert "<html" not in page
    assert page.count('hx-swap-oob="true"') == 9


def queries(browser, address):
    with CaptureQueriesContext(
        connection,
    ) as seen:
        assert browser.get(address).status_code == 200
    return len(seen)


@pytest.mark.parametrize("address", ["/", "/jobs/"])
def test_it_asks_the_same_number_of_queries_for_any_number_of_jobs(
    world, browse, finished_rounds, address
):
    browser = browse(world.owner)
    few = queries(browser, address)
    for number in range(8):
        job = factories.job(world.tenant, name=f"more-{number}")
        finished_rounds(job, 2, 4)
    assert queries(browser, address) <= few
    assert few <= 55


def test_it_asks_the_same_number_of_queries_for_any_number_of_rounds_and_devices(
    world, browse, finished_rounds
):
    address = reverse("frontend:job", args=[world.job.id])
    browser = browse(world.owner)
    few = queries(browser, address)
    finished_rounds(world.job, 2, 30)
    for _ in range(6):
        device = factories.device(world.shared)
        with system_scope():
            Assignment.objects.create(
                tenant=world.tenant, job=world.job, round=world.round, device=device,
                bound_at=factories.NOW, lease_expires_at=factories.later(30),
            )  # fmt: skip
    assert queries(browser, address) <= few + 1  # the count of rounds not shown
    assert few <= 45


def test_it_compresses_pages_and_nothing_else(world, browse):
    ada = browse(world.owner)
    page = ada.get("/jobs/", headers={"Accept-Encoding": "gzip"})
    assert page["Content-Encoding"] == "gzip"
    table = ada.get("/usage.csv", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in table
