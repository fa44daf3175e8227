"""One device's page: by name for who owns it, by pseudonym and own work alone for others."""

import html
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clients.models import Device
from clients.selectors import pseudonym
from jobs.models import Assignment
from tenants.scopes import system_scope
from tests.integration import factories


@pytest.fixture
def task():
    """Return a function that adds a task of a device, for a job, that has ended."""

    def add(job, device, status="reported", **fields):
        now = timezone.now()
        with system_scope():
            return Assignment.objects.create(
                tenant_id=job.tenant_id, job=job, round=factories.open_round(job), device=device,
                status=status, bound_at=now - timedelta(seconds=90), accepted_at=now,
                ended_at=now, lease_expires_at=now, **fields,
            )  # fmt: skip

    return add


@pytest.fixture
def look(browse):
    """Return a function that opens an address as somebody: (status, text)."""

    def ask(user, address):
        answer = browse(user).get(address)
        return answer.status_code, html.unescape(answer.content.decode())

    return ask


def test_an_owner_sees_its_device_and_all_that_it_did(world, look, task):
    device = factories.device(world.private, memory_mb=2048)
    task(world.job, device)
    address = f"/devices/{device.id}/"
    status, text = look(world.viewer, address)
    assert status == 200
    for shown in (device.name, "tablets", "2048 MB", "digits-mlp", "Round 1", "Reported"):
        assert shown in text
    assert "1 min 30 s" in text
    assert "1.0 kB" in text  # the parameters that it was handed
    assert f'href="{address}"' in look(world.viewer, "/devices/")[1]


def test_another_tenant_does_not_find_it(world, look, task):
    device = factories.device(world.private)
    one = task(world.job, device)
    assert look(world.stranger, f"/devices/{device.id}/")[0] == 404
    assert look(world.stranger, f"/devices/of/{one.id}/")[0] == 404


def test_a_shared_device_is_found_by_own_work_alone_and_has_no_name(world, look, task):
    device = factories.device(world.shared, region="cabin-of-eve")
    mine = task(world.job, device)
    theirs = task(factories.job(world.other, name="their-job"), device)
    assert look(world.owner, f"/devices/{device.id}/")[0] == 404
    assert look(world.owner, f"/devices/of/{theirs.id}/")[0] == 404
    status, text = look(world.owner, f"/devices/of/{mine.id}/")
    assert status == 200
    assert pseudonym(world.tenant.id, device.id) in text
    assert "digits-mlp" in text
    for hidden in ("their-job", device.name, str(device.id), "cabin-of-eve", "Revoke"):
        assert hidden not in text
    status, text = look(world.stranger, f"/devices/of/{theirs.id}/")
    assert pseudonym(world.tenant.id, device.id) not in text
    assert "their-job" in text


def test_the_api_tells_of_a_shared_device_by_own_work_alone(world, browse, look, task):
    device = factories.device(world.shared, region="cabin-of-eve")
    mine = task(world.job, device, "declined", code="consent", message="eve's secret")
    theirs = task(factories.job(world.other, name="their-job"), device)
    address = f"/api/v1/assignments/{mine.id}/device"
    told, tasks = (browse(world.viewer).get(one) for one in (address, f"{address}/tasks"))
    assert told.json()["name"] == pseudonym(world.tenant.id, device.id)
    assert told.json()["name"] in look(world.viewer, f"/devices/of/{mine.id}/")[1]
    assert (told.json()["device"], told.json()["totals"]["tasks"]) == (None, 1)
    (one,) = tasks.json()["results"]
    assert (one["id"], one["status"]) == (str(mine.id), "declined")
    assert (one["code"], one["message"]) == ("", "")
    text = (told.content + tasks.content).decode()
    for hidden in ("their-job", device.name, str(device.id), "cabin-of-eve", "consent", "secret"):
        assert hidden not in text
    for path in (theirs.id, device.id):
        for more in ("", "/tasks"):
            answer = browse(world.owner).get(f"/api/v1/assignments/{path}/device{more}")
            assert answer.status_code == 404


def test_the_api_leads_from_a_task_to_ones_own_device(world, browse, task):
    device = factories.device(world.private)
    one = task(world.job, device, "failed", code="out_of_memory", message="of 2 GB")
    address = f"/api/v1/assignments/{one.id}/device"
    found = browse(world.viewer).get(address).json()
    assert (found["name"], found["device"]) == (device.name, str(device.id))
    (told,) = browse(world.viewer).get(f"{address}/tasks").json()["results"]
    assert (told["code"], told["message"]) == ("out_of_memory", "of 2 GB")
    assert browse(world.stranger).get(address).status_code == 404


@pytest.mark.parametrize(
    ("status", "code", "to_owner", "to_others"),
    [
        ("declined", "consent", "Declined: their owners do not consent", "Declined<"),
        ("failed", "out_of_memory", "Ran out of memory", "Ran out of memory"),
        ("expired", "", "Went silent", "Went silent"),
        ("cancelled", "round_closed", "Not back when the round closed", "Not back when"),
    ],
)
def test_it_says_what_came_of_a_task(world, look, task, status, code, to_owner, to_others):
    for pool, said in ((world.private, to_owner), (world.shared, to_others)):
        one = task(world.job, factories.device(pool), status, code=code, message="eve's secret")
        address = f"/devices/of/{one.id}/"
        if pool is world.private:
            address = f"/devices/{one.device_id}/"
        text = look(world.viewer, address)[1]
        assert said in text
        assert "eve's secret" not in text


def test_the_way_by_a_task_leads_to_the_page_of_ones_own_device(world, browse, task):
    one = task(world.job, factories.device(world.private))
    answer = browse(world.viewer).get(f"/devices/of/{one.id}/")
    assert answer.headers["Location"] == f"/devices/{one.device_id}/"


def test_it_says_what_to_do_while_there_is_nothing(world, look):
    device = factories.device(world.private)
    text = look(world.viewer, f"/devices/{device.id}/")[1]
    assert "it has never connected" in text
    assert "propius device doctor" in text
    assert "see which constraints fit" in text


def test_admins_revoke_their_own_device(world, browse):
    device, shared = factories.device(world.private), factories.device(world.shared)
    address = f"/devices/{device.id}/revoke/"
    assert browse(world.viewer).post(address).status_code == 403
    assert browse(world.stranger).post(address).status_code == 404
    assert browse(world.owner).post(f"/devices/{shared.id}/revoke/").status_code == 404
    answer = browse(world.owner).post(address, follow=True)
    text = answer.content.decode()
    assert "is shut out" in text
    assert "Revoke…" not in text
    with system_scope():
        assert Device.objects.get(id=device.id).status == Device.Status.REVOKED
        assert Device.objects.get(id=shared.id).status == Device.Status.ACTIVE


def test_it_asks_as_often_for_many_tasks_and_shows_them_by_pages(world, browse, task):
    device = factories.device(world.private)
    task(world.job, device)
    browser, address = browse(world.owner), f"/devices/{device.id}/"

    def queries():
        with CaptureQueriesContext(connection) as seen:
            assert browser.get(address).status_code == 200
        return len(seen)

    queries()
    few = queries()
    jobs = [factories.job(world.tenant, name=f"more-{number}") for number in range(3)]
    for job in jobs:
        task(job, device)
    assert queries() == few <= 25
    with system_scope():
        rows = []
        for number in range(60):
            round_ = factories.open_round(jobs[0])
            round_.pk, round_.number, round_.status = None, number + 2, "finished"
            round_.id = round_._meta.pk.get_default()
            round_.outcome = "completed"
            rows.append(round_)
        type(rows[0]).objects.bulk_create(rows)
        Assignment.objects.bulk_create(
            Assignment(
                tenant=world.tenant, job=jobs[0], round=one, device=device, status="reported",
                bound_at=factories.NOW, ended_at=factories.NOW, lease_expires_at=factories.NOW,
            )
            for one in rows
        )  # fmt: skip
    assert "Older" in browser.get(address).content.decode()
    assert "digits-mlp" in browser.get(address + "?page=2").content.decode()
