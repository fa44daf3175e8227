"""What the console does when a service refuses: it says what, of what, and keeps what was typed."""

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages

from clients import services as client_services
from clients.models import Device, Pool
from jobs import services as job_services
from jobs.models import Job, Quarantine
from tenants.models import AuditEntry, Member
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW, later

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("op"))
    return client


def marked(operator, path, action, *rows, **more):
    """Act on marked rows; returns what the page then says."""
    fields = {"action": action, "_selected_action": [str(one.pk) for one in rows], **more}
    answer = operator.post(f"/admin/{path}/", fields)
    assert answer.status_code == 302, answer.content
    return [str(one) for one in get_messages(answer.wsgi_request)]


class TestMarkedRows:
    def test_each_job_that_could_be_cancelled_is_and_the_others_say_why_not(self, operator):
        tenant = factories.tenant()
        first, ended, last = (factories.job(tenant, name=one) for one in ("a", "b", "c"))
        with system_scope():
            Job.objects.filter(id=ended.id).update(
                status="finished", outcome="completed", finished_at=NOW
            )
            told = marked(
                operator, "jobs/job", "cancel", first, ended, last, reason="it fills disks"
            )
            for one in (first, ended, last):
                one.refresh_from_db()
            entry = AuditEntry.objects.filter(action="job.cancel").latest("id")
        assert told == [
            "2 jobs cancelled: a, c.",
            "Not cancelled: b: the job has ended already: completed.",
        ]
        assert [one.outcome for one in (first, ended, last)] == [
            "cancelled", "completed", "cancelled",
        ]  # fmt: skip
        assert first.reason["message"] == "by op: it fills disks"
        assert entry.detail == {"name": "c", "reason": "it fills disks"}

    def test_nothing_is_done_without_a_reason(self, operator):
        device = factories.device(factories.pool())
        told = marked(operator, "clients/device", "revoke", device, reason=" ")
        assert told == ["Nothing was changed: reason: say why, for those who read the history."]
        with system_scope():
            device.refresh_from_db()
        assert device.status == "active"
        assert b'name="reason"' in operator.get("/admin/clients/device/").content

    def test_a_revoked_device_keeps_the_reason_in_the_audit(self, operator):
        device = factories.device(factories.pool())
        told = marked(operator, "clients/device", "revoke", device, reason="stolen")
        assert told == [f"1 device revoked: {device.name}."]
        with system_scope():
            assert Device.objects.get(id=device.id).status == "revoked"
            entry = AuditEntry.objects.get(action="device.revoke")
        assert entry.detail == {"name": device.name, "reason": "stolen"}


class TestForms:
    def refused(self, operator, path, **fields):
        answer = operator.post(f"/admin/{path}", fields)
        assert answer.status_code == 200
        form = answer.context["adminform"].form
        for name, text in fields.items():
            assert form[name].value() == text
        return form.errors

    def test_a_mistyped_job_leaves_the_form_as_typed_with_the_fault_beside_the_field(
        self, operator
    ):
        errors = self.refused(
            operator, "jobs/quarantine/add/", kind="job", target="no-such-job", reason="it burns"
        )
        assert list(errors) == ["target"]
        assert "the id of a job that has not finished" in errors["target"][0]
        assert not Quarantine.objects.exists()

    def test_so_do_the_rollout_the_schema_and_the_pools(self, operator):
        errors = self.refused(
            operator, "clients/sdkrequirement/add/", software="propius-python", minimum="new",
            percent="1", grace_days="7", reason="a hole",
        )  # fmt: skip
        assert list(errors) == ["minimum"]
        errors = self.refused(
            operator, "clients/attributedefinition/add/", name="Li dar", type="boolean",
            description="x", reason="cars",
        )  # fmt: skip
        assert list(errors) == ["name"]
        pool, other = factories.pool(None, "wards"), factories.pool(None, "labs")
        path = f"clients/pool/{other.id}/change/"
        assert self.refused(operator, path, name="wards", reason="merged") == {
            "name": ["'wards' is taken"]
        }
        with system_scope():
            assert Pool.objects.get(id=other.id).name == "labs"
        assert pool.name == "wards"

    def test_a_fault_of_no_field_stands_above_them(self, operator):
        tenant = factories.tenant()
        fields = {"weight": "1", "guarantee": "5", "ceiling": "3", "reason": "x"}
        answer = operator.post(
            "/admin/scheduling/tenantshare/add/", {"tenant": str(tenant.id), **fields}
        )
        assert answer.status_code == 200
        assert answer.context["adminform"].form.errors


class TestDeletion:
    def test_a_pool_goes_with_its_tokens_and_what_was_asked_of_its_software(self, operator):
        pool = factories.pool(None, "old")
        with system_scope():
            client_services.create_enrolment_token(
                pool=pool, name="x", max_uses=9, created_by="x", now=NOW, expires_at=later(60)
            )
            client_services.require_sdk(
                pool_id=pool.id, name="acme", minimum="0.2", percent=10, grace_days=2,
                reason="a hole", author="op", now=NOW,
            )  # fmt: skip
        path = f"/admin/clients/pool/{pool.id}/delete/"
        assert b"Reason" in operator.get(path).content
        assert operator.post(path, {"post": "yes"}).status_code == 302
        with system_scope():
            assert Pool.objects.filter(id=pool.id).exists()  # no reason, no deletion
        assert operator.post(path, {"post": "yes", "reason": "closed"}).status_code == 302
        with system_scope():
            assert not Pool.objects.filter(id=pool.id).exists()
            entry = AuditEntry.objects.get(action="pool.delete")
        assert (entry.target, entry.detail["reason"]) == ("old", "closed")

    def test_a_pool_with_devices_stays_and_the_page_says_why(self, operator):
        pool = factories.pool(None, "old")
        device = factories.device(pool)
        path = f"/admin/clients/pool/{pool.id}/delete/"
        answer = operator.post(path, {"post": "yes", "reason": "closed"})
        assert device.name.encode() in answer.content
        with system_scope():
            assert Pool.objects.filter(id=pool.id).exists()

    def test_marked_members_go_together_with_one_reason(self, operator):
        tenant = factories.tenant()
        for role in ("viewer", "admin"):
            factories.member(tenant, role)
        with system_scope():
            members = list(Member.objects.filter(tenant=tenant))
        told = marked(
            operator, "tenants/member", "delete_selected", *members, post="yes", reason=""
        )
        assert told[0].startswith("Nothing was deleted: reason:")
        marked(operator, "tenants/member", "delete_selected", *members, post="yes", reason="left")
        with system_scope():
            assert not Member.objects.filter(tenant=tenant).exists()
            entries = AuditEntry.objects.filter(action="member.remove")
            assert {one.detail["reason"] for one in entries} == {"left"}


def test_cancelling_twice_is_the_same_and_needs_no_word(db):
    job = factories.job(factories.tenant())
    with system_scope():
        for _ in range(2):
            found = job_services.cancel(job_id=job.id, actor="op", now=NOW)
    assert found.reason["message"] == "by op"
