"""Who sees the policy and the shares; and the figures for Prometheus."""

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError

from jobs.models import Assignment
from scheduling import metrics, selectors, services
from scheduling.models import (
    FleetMinute,
    PlanRecord,
    ShareChange,
    SharingPolicy,
    TenantQuota,
    TenantShare,
)
from tenants import scopes
from tests.integration import factories
from tests.integration.factories import NOW, later
from tests.integration.scheduling.test_planning import Fleet


@pytest.fixture
def two_shares():
    mine, theirs = factories.tenant(), factories.tenant()
    with scopes.system_scope():
        for one in (mine, theirs):
            services.set_share(
                tenant_id=one.id,
                weight=1,
                guarantee=2,
                ceiling=9,
                lending_limit=1,
                author="op",
                now=NOW,
            )
    return mine, theirs


def test_a_tenant_reads_its_own_share_only(two_shares):
    mine, _ = two_shares
    assert TenantShare.objects.count() == 0
    with scopes.scope(mine.id):
        assert [row.tenant_id for row in TenantShare.objects.all()] == [mine.id]


def test_a_tenant_cannot_write_its_share(two_shares):
    mine, _ = two_shares
    with scopes.scope(mine.id):
        assert TenantShare.objects.update(ceiling=1_000) == 0
        assert TenantShare.objects.all().delete()[0] == 0
    third = factories.tenant()
    with pytest.raises(DatabaseError, match="row-level security"), scopes.scope(third.id):
        TenantShare.objects.create(tenant=third, updated_by="me", updated_at=NOW)


def get(client, secret):
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return client.get("/api/v1/policy", headers=headers)


def test_every_tenant_reads_the_policy_and_nobody_else(client):
    with scopes.system_scope():
        services.set_policy(
            name="srsf", parameters={"max_wait_s": 60}, author="op", reason="secret", now=NOW
        )
    answer = get(client, factories.token(factories.tenant(), "jobs:read"))
    assert answer.json() == {"name": "srsf", "parameters": {"max_wait_s": 60}}
    assert get(client, factories.token(factories.tenant(), "models:read")).status_code == 403
    assert get(client, None).status_code == 401


class TestConsole:
    @pytest.fixture
    def operator(self, client):
        client.force_login(User.objects.create_superuser("op", password="x"))
        return client

    def test_an_operator_chooses_a_policy_with_a_reason(self, operator):
        page = operator.post(
            "/admin/scheduling/sharingpolicy/add/",
            {"name": "fifo", "parameters": "{}", "reason": "simplest"},
        )
        assert page.status_code == 302
        chosen = SharingPolicy.objects.latest()
        assert (chosen.name, chosen.author, chosen.reason) == ("fifo", "op", "simplest")

    def test_a_wrong_parameter_shows_beside_its_field(self, operator):
        before = SharingPolicy.objects.count()
        page = operator.post(
            "/admin/scheduling/sharingpolicy/add/",
            {"name": "fifo", "parameters": '{"speed": 1}', "reason": "try"},
        )
        assert page.status_code == 200
        assert b"takes no parameters" in page.content
        assert SharingPolicy.objects.count() == before

    def test_history_can_be_read_and_not_changed(self, operator):
        chosen = SharingPolicy.objects.latest()
        assert operator.get("/admin/scheduling/sharingpolicy/").status_code == 200
        path = f"/admin/scheduling/sharingpolicy/{chosen.pk}"
        assert operator.get(f"{path}/change/").status_code == 200
        assert operator.post(f"{path}/change/", {"name": "fifo"}).status_code == 403
        assert operator.post(f"{path}/delete/", {"post": "yes"}).status_code == 403

    def test_an_operator_sets_a_share(self, operator):
        tenant = factories.tenant()
        page = operator.post(
            "/admin/scheduling/tenantshare/add/",
            {
                "tenant": str(tenant.id),
                "weight": "2",
                "guarantee": "1",
                "ceiling": "7",
                "lending_limit": "0",
                "reason": "a larger one",
            },
        )
        assert page.status_code == 302
        with scopes.system_scope():
            share = TenantShare.objects.get(tenant=tenant)
        assert (share.weight, share.ceiling, share.updated_by) == (2, 7, "op")
        assert share.lending_limit == 0

    def test_a_ceiling_below_the_guarantee_is_shown_as_a_fault(self, operator):
        page = operator.post(
            "/admin/scheduling/tenantshare/add/",
            {"tenant": str(factories.tenant().id), "weight": "2", "guarantee": "9", "ceiling": "7"},
        )
        assert page.status_code == 200

    def test_an_old_policy_is_chosen_again_with_one_click(self, operator):
        with scopes.system_scope():
            old = services.set_policy(
                name="srsf", parameters={"max_wait_s": 7}, author="eve", reason="a", now=NOW
            )
            services.set_policy(name="fifo", parameters={}, author="eve", reason="b", now=NOW)
        path = f"/admin/scheduling/sharingpolicy/{old.pk}/revert/"
        assert path in operator.get("/admin/scheduling/sharingpolicy/").content.decode()
        assert operator.get(path).status_code == 405
        assert operator.post(path).status_code == 302
        chosen = SharingPolicy.objects.latest()
        assert (chosen.name, chosen.parameters, chosen.author) == ("srsf", {"max_wait_s": 7}, "op")
        assert chosen.reason == "back to the choice of 2026-01-02 03:04 UTC by eve"

    def test_an_old_share_is_set_again_with_one_click(self, operator, two_shares):
        mine, _ = two_shares
        with scopes.system_scope():
            services.set_share(
                tenant_id=mine.id, weight=5, guarantee=0, ceiling=None, author="eve",
                reason="more", now=NOW,
            )  # fmt: skip
            old = ShareChange.objects.filter(tenant=mine).earliest("id")
        assert operator.get("/admin/scheduling/sharechange/").status_code == 200
        assert operator.post(f"/admin/scheduling/sharechange/{old.pk}/revert/").status_code == 302
        with scopes.system_scope():
            share = TenantShare.objects.get(tenant=mine)
            assert (share.weight, share.ceiling, share.updated_by) == (1, 9, "op")
            assert (share.guarantee, share.lending_limit) == (2, 1)
            assert ShareChange.objects.filter(tenant=mine).count() == 3

    def test_one_who_only_looks_reverts_nothing(self, client):
        looker = User.objects.create_user("looker", password="x", is_staff=True)
        client.force_login(looker)
        chosen = SharingPolicy.objects.latest()
        before = SharingPolicy.objects.count()
        path = f"/admin/scheduling/sharingpolicy/{chosen.pk}/revert/"
        assert client.post(path).status_code == 403
        assert SharingPolicy.objects.count() == before

    def test_an_operator_sets_a_quota_with_a_reason_and_sees_what_is_used(self, operator):
        tenant = factories.tenant()
        empty = {"tenant": str(tenant.id), "jobs": "3", "devices": "", "device_hours": "",
                 "stored_bytes": ""}  # fmt: skip
        add = "/admin/scheduling/tenantquota/add/"
        assert operator.post(add, {**empty, "reason": ""}).status_code == 200
        assert operator.post(add, {**empty, "reason": "trial"}).status_code == 302
        with scopes.system_scope():
            quota = TenantQuota.objects.get(tenant=tenant)
        assert (quota.jobs, quota.devices, quota.updated_by) == (3, None, "op")
        page = operator.get("/admin/scheduling/tenantquota/").content.decode()
        assert "0 jobs, 0 devices, 0.0 h, 0 bytes" in page

    def test_a_plan_is_kept_with_the_devices_that_it_gave_to_rounds(self, operator):
        with scopes.system_scope():
            fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
            fleet.register()
            job = factories.job(factories.tenant(), name="bound-one")
            services.plan(now=NOW)
            device = fleet.device()
            fleet.bind(1, devices=[device])
            (record,) = PlanRecord.objects.all()
            assert selectors.record_behind(Assignment.objects.get()) == record
        assert (record.summary["rounds"], record.summary["slots"]) == (1, 6)
        page = operator.get(f"/admin/scheduling/planrecord/{record.pk}/change/").content.decode()
        assert "Fair shares between tenants" in page
        assert f"device {device.id} to train round 1 of bound-one" in page
        assert str(job.id) in page
        listed = operator.get("/admin/scheduling/planrecord/").content.decode()
        assert str(record.version) in listed

    def test_it_explains_every_waiting_job_with_all_names(self, operator):
        with scopes.system_scope():
            services.set_policy(name="fifo", parameters={}, author="op", reason="x", now=NOW)
            fleet = Fleet(factories.pool(None, "everybody"), memory_mb=1024)
            fleet.register()
            factories.job(factories.tenant("north"), name="first-one")
            second = factories.job(factories.tenant("south"), name="second-one", now=later(5))
            services.plan(now=later(6))
        assert operator.get("/admin/scheduling/waitingjob/").status_code == 200
        page = operator.get(f"/admin/scheduling/waitingjob/{second.pk}/change/").content.decode()
        assert "first-one of north (6 slots, by fifo)" in page
        assert operator.get("/admin/scheduling/fleetminute/").status_code == 200


def test_quotas_and_share_history_are_a_tenants_own_and_records_the_operators(two_shares):
    mine, _ = two_shares
    with scopes.system_scope():
        services.set_quota(
            tenant_id=mine.id, jobs=1, devices=None, device_hours=None, stored_bytes=None,
            author="op", reason="x", now=NOW,
        )  # fmt: skip
        services.plan(now=NOW)
        assert PlanRecord.objects.count() == 1
    with scopes.scope(mine.id):
        assert {row.tenant_id for row in ShareChange.objects.all()} == {mine.id}
        assert TenantQuota.objects.update(jobs=99) == 0
        assert TenantQuota.objects.get().jobs == 1
        assert PlanRecord.objects.count() == FleetMinute.objects.count() == 0


def test_figures_cover_demand_plan_and_devices():
    factories.job(factories.tenant())
    with scopes.system_scope():
        services.plan(now=NOW)
        found = {one.name: one for one in metrics.collect()}
    demand = {
        sample.labels["kind"]: sample.value for sample in found["propius_open_demand"].samples
    }
    assert demand == {"train": 6, "evaluate": 0}
    assert found["propius_plans"].samples[0].value == 1
    assert found["propius_plan_version"].samples[0].value > 0
    assert found["propius_queue_wait_seconds_max"].samples[0].value > 0
