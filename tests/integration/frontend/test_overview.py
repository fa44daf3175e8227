"""The overview: where jobs stand and when they likely end, and what needs a look."""

import html
from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import services as job_services
from jobs.models import Job, Round
from scheduling import services as scheduling_services
from scheduling.models import GatewayDrain
from tenants import services as tenant_services
from tenants.models import Delivery
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.scheduling.test_planning import Fleet, choose, run


@pytest.fixture
def overview(browse):
    """Return a function that opens the overview: (what it shows, its text)."""

    def look(user):
        answer = browse(user).get("/")
        return answer.context["overview"], html.unescape(answer.content.decode())

    return look


@pytest.fixture
def told(browse):
    """Return a function that asks the API what needs a look."""
    return lambda user: browse(user).get("/api/v1/attention").json()


def titles(found):
    return [one.title for one in found.notes]


def test_it_says_who_is_next_and_who_waits_behind_whom(world, overview, redis):
    Fleet(world.shared).register()
    with system_scope():
        choose(policy="fifo")
        first = factories.job(world.tenant, now=timezone.now(), name="first")
        second = factories.job(world.other, now=timezone.now(), name="theirs")
        factories.job(world.tenant, now=timezone.now() + timedelta(seconds=1), name="third")
        scheduling_services.plan(now=timezone.now())
        slots = sum(factories.open_round(one).target for one in (first, second))
    found, text = overview(world.viewer)
    places = {one.line.name: one.place for one in found.active}
    assert places == {
        "digits-mlp": "",  # its window ended long ago: it is in no plan
        "first": "Next in line for devices",
        "third": f"In line for devices behind 2 rounds with {slots} open slots",
    }
    assert "theirs" not in text


def test_it_estimates_the_end_by_the_pace_of_the_last_rounds(world, overview, finished_rounds):
    job = factories.job(world.tenant, name="paced", rounds__count=10)
    finished_rounds(job, 2, 5)
    now = timezone.now().replace(microsecond=0)
    with system_scope():
        for number in range(2, 6):
            ended = now - timedelta(minutes=10 * (5 - number))
            Round.objects.filter(job=job, kind="train", number=number).update(
                finished_at=ended, outcome="completed"
            )
    found, text = overview(world.viewer)
    (paced,) = [one for one in found.active if one.line.name == "paced"]
    assert paced.ends_at == now + timedelta(minutes=50)
    assert "an estimate by the pace of its last 4 rounds" in text
    assert "Its end cannot be told yet" in text  # of the other job, which has done none


def test_it_tells_of_maintenance_and_of_gateways_that_are_emptied(world, overview, redis):
    with system_scope():
        job_services.set_maintenance(
            mode="paused", reason="new disks", author="root", now=timezone.now()
        )
        for gateway in ("gw-1", "gone"):
            GatewayDrain.objects.create(
                gateway=gateway, reason="x", author="root", created_at=timezone.now()
            )
    run(lambda door: door.heartbeat("gw-1", groups_version="g", sockets=7, idle={}, busy={}))
    found, text = overview(world.viewer)
    assert titles(found) == ["New rounds wait", "Devices reconnect"]
    assert "The operator has paused new rounds: new disks." in text
    assert "empties 1 gateway:" in text
    assert "need a look" not in found.headline.replace("1 job needs a look", "")


def test_it_tells_of_quotas_near_their_end(world, overview):
    with system_scope():
        scheduling_services.set_quota(
            tenant_id=world.tenant.id, jobs=1, devices=100, device_hours=None, stored_bytes=None,
            author="root", reason="x", now=timezone.now(),
        )  # fmt: skip
    found, text = overview(world.viewer)
    assert titles(found) == ["Quota used up"]
    assert "100\u202f% of the jobs at once that it allows" in text
    assert titles(overview(world.stranger)[0]) == []


def test_it_tells_of_webhooks_that_fail_and_tokens_that_expire(world, overview, told):
    now = timezone.now()
    with system_scope():
        webhook, _ = tenant_services.create_webhook(
            tenant_id=world.tenant.id, url="https://example.org/", kinds=None, actor="x", now=now
        )
        for status, attempts in (("failed", 9), ("waiting", 3), ("waiting", 1), ("delivered", 1)):
            Delivery.objects.create(
                tenant=world.tenant, webhook=webhook, event=0, kind="x", body={}, status=status,
                attempts=attempts, next_at=now, created_at=now,
            )  # fmt: skip
        for name, days in (("soon", 3), ("later", 30), ("never", None)):
            tenant_services.create_token(
                tenant_id=world.tenant.id, name=name, scopes=None, created_by="x", now=now,
                expires_at=now + timedelta(days=days) if days else None,
            )  # fmt: skip
    found, text = overview(world.viewer)
    assert titles(found) == ["A webhook fails", "An API token expires soon"]
    assert "2 events of the last day did not arrive at https://example.org/." in text
    assert "soon (" in text
    assert "2 other things need a look" in found.headline
    assert titles(overview(world.stranger)[0]) == []
    stalled, failing, expiring = told(world.viewer)["notes"]
    assert (stalled["code"], stalled["job"]) == ("job_stalled", str(world.job.id))
    assert [failing["title"], expiring["title"]] == titles(found)
    assert (failing["code"], failing["webhook"]) == ("webhook_fails", str(webhook.id))
    assert (expiring["code"], expiring["text"]) == ("token_expires", found.notes[1].text)
    assert told(world.stranger)["notes"] == []


def test_a_token_is_told_of_webhooks_and_tokens_only_if_it_may_read_them(world, client):
    now = timezone.now()

    def codes(*scopes):
        with system_scope():
            _, secret = tenant_services.create_token(
                tenant_id=world.tenant.id, name="x", scopes=scopes, created_by="x", now=now,
                expires_at=now + timedelta(days=1),
            )  # fmt: skip
        headers = {"Authorization": f"Bearer {secret}"}
        notes = client.get("/api/v1/attention", headers=headers).json()["notes"]
        return {one["code"] for one in notes}

    assert codes("jobs:read") == {"job_stalled"}
    assert codes("jobs:read", "tenant:read") == {"job_stalled", "token_expires"}


def test_it_counts_all_jobs_and_names_the_newest(world, overview, told):
    with system_scope():
        made = [factories.job(world.tenant, name=f"job-{number}") for number in range(33)]
        for job in made[:7]:
            Job.objects.filter(id=job.id).update(
                status="finished", outcome="failed", finished_at=timezone.now()
            )
    found, text = overview(world.viewer)
    assert "27 jobs wait" in found.headline
    assert len(found.attention) + found.stuck_more + found.trouble_more == int(
        found.headline.split("; ")[1].split()[0]
    )
    assert (len(found.active), found.active_more) == (25, 2)
    assert found.active[0].line.name == "job-32"
    assert found.trouble_more == 2
    assert [one.state.label for one in found.attention[-5:]] == ["Failed"] * 5
    assert "And 2 more, submitted earlier" in text
    assert "And 2 more that failed or were rejected" in text
    api = told(world.viewer)
    of_jobs = [one for one in api["notes"] if one["job"]]
    assert [one["title"] for one in of_jobs] == [one.name for one in found.attention]
    assert [one["code"] for one in of_jobs[-5:]] == ["job_failed"] * 5
    assert (api["more_stuck"], api["more_failed"]) == (found.stuck_more, 2)
    assert told(world.stranger) == {"notes": [], "more_stuck": 0, "more_failed": 0}
