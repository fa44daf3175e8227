"""What the pages tell and narrow down, the API does too."""

from datetime import timedelta

import pytest
from django.utils import timezone

from clients.models import Device
from jobs.models import Assignment, Job
from scheduling import services as scheduling_services
from tenants import services
from tenants.models import Delivery
from tenants.scopes import scope, system_scope
from tests.integration import factories


@pytest.fixture
def ask(world):
    """Read as a viewer: the answer's JSON."""

    def get(path, status=200):
        answer = world.call("viewer", "GET", f"api/v1/{path}")
        assert answer.status_code == status, answer.content
        return answer.json()

    return get


def test_the_audit_is_narrowed_by_action_and_by_words(ask):
    actions = [one["action"] for one in ask("audit?action=token.create")["results"]]
    assert actions == ["token.create"] * 2
    assert [one["target"] for one in ask("audit?q=EVE")["results"]] == ["Eve"]
    assert ask("audit?q=eve&action=token.create")["results"] == []
    assert len(ask("audit?q=&action=")["results"]) > 3
    assert "q" in ask("audit?q=" + "x" * 151, 400)["errors"]


def test_rounds_are_narrowed_by_state_and_kind(ask, world):
    path = f"jobs/{world.arguments['<uuid:job_id>']}/rounds"
    found = ask(path)["results"]
    assert {one["status"] for one in found} == {"finished", "selecting"}
    for query, kept in (
        ("status=finished", lambda one: one["status"] == "finished"),
        ("kind=evaluate", lambda one: one["kind"] == "evaluate"),
        ("kind=train&status=selecting", lambda one: one["status"] == "selecting"),
    ):
        assert ask(f"{path}?{query}")["results"] == [one for one in found if kept(one)]
    assert "status" in ask(f"{path}?status=lost", 400)["errors"]


def test_versions_are_narrowed_by_what_retention_did(ask, world):
    path = f"jobs/{world.arguments['<uuid:job_id>']}/versions"
    everything = [one["number"] for one in ask(path)["results"]]
    assert everything
    assert [one["number"] for one in ask(f"{path}?released=false")["results"]] == everything
    assert ask(f"{path}?released=true")["results"] == []
    assert ask(f"{path}?pinned=true")["results"] == []
    assert "pinned" in ask(f"{path}?pinned=perhaps", 400)["errors"]


def test_deliveries_are_narrowed_by_state_and_kind(ask, world):
    webhook_id = world.arguments["<uuid:webhook_id>"]
    with scope(world.tenant.id):
        for _ in range(2):
            services.try_webhook(webhook_id=webhook_id, actor="x", now=timezone.now())
        first = Delivery.objects.order_by("id").first()
        Delivery.objects.filter(id=first.id).update(status="delivered")
    path = f"webhooks/{webhook_id}/deliveries"
    assert len(ask(path)["results"]) == 2
    assert len(ask(f"{path}?status=delivered&kind=webhook.test")["results"]) == 1
    assert ask(f"{path}?kind=job.failed")["results"] == []
    assert "kind" in ask(f"{path}?kind=job.danced", 400)["errors"]


def test_the_fleet_is_counted_as_the_page_does_and_small_parts_stay_hidden(ask, world):
    shared = factories.pool()
    seen = [factories.device(shared) for _ in range(46)][:3]
    with system_scope():
        Device.objects.filter(id__in=[one.id for one in seen]).update(seen_at=timezone.now())
    found = ask("fleet")
    (hidden,) = [one for one in found["pools"] if one["id"] == str(shared.id)]
    assert hidden["shared"]
    assert hidden["devices"] == {"at_least": 46, "at_most": 46}
    assert hidden["online"] == {"at_least": 1, "at_most": 4}
    assert hidden["offline"] == {"at_least": 42, "at_most": 45}
    (own,) = [one for one in found["pools"] if one["id"] == str(world.pool.id)]
    assert (own["devices"], own["mine"]) == ({"at_least": 1, "at_most": 1}, 0)


def test_the_quota_tells_what_is_used_and_allowed(ask, world):
    free = ask("quota")
    # One that trains, one that is driven, one that is paused.
    assert free["jobs"] == {"used": 3, "allowed": None}
    assert free["stored_bytes"]["used"] > 0
    with system_scope():
        scheduling_services.set_quota(
            tenant_id=world.tenant.id, jobs=3, devices=None, device_hours=2.5, stored_bytes=None,
            author="op", reason="a test", now=timezone.now(),
        )  # fmt: skip
    bound = ask("quota")
    assert bound["jobs"] == {"used": 3, "allowed": 3}
    assert (bound["device_hours"]["allowed"], bound["devices"]["allowed"]) == (2.5, None)


def test_a_device_tells_its_tasks_and_what_they_add_up_to(ask, world):
    device_id, now = world.arguments["<uuid:device_id>"], timezone.now()
    assert ask(f"devices/{device_id}/tasks")["results"] == []
    assert ask(f"devices/{device_id}/totals")["tasks"] == 0
    with system_scope():
        job = Job.objects.get(id=world.arguments["<uuid:job_id>"])
        round_ = factories.open_round(job)
        Assignment.objects.create(
            tenant_id=job.tenant_id, job=job, round=round_, device_id=device_id, status="failed",
            code="out_of_memory", bound_at=now - timedelta(hours=1), accepted_at=now, ended_at=now,
            lease_expires_at=now,
        )  # fmt: skip
    (task,) = ask(f"devices/{device_id}/tasks")["results"]
    assert (task["job_name"], task["round"], task["kind"]) == (job.name, round_.number, "train")
    assert (task["status"], task["code"]) == ("failed", "out_of_memory")
    assert (task["down_bytes"], task["up_bytes"]) == (round_.base_size, 0)
    assert ask(f"devices/{device_id}/totals") == {
        "tasks": 1, "reported": 0, "hours": 1.0, "down_bytes": round_.base_size, "up_bytes": 0,
    }  # fmt: skip
