"""Who sees the policy and the shares; and the figures for Prometheus."""

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError

from scheduling import metrics, services
from scheduling.models import SharingPolicy, TenantShare
from tenants import scopes
from tests.integration import factories
from tests.integration.factories import NOW


@pytest.fixture
def two_shares():
    mine, theirs = factories.tenant(), factories.tenant()
    with scopes.system_scope():
        for one in (mine, theirs):
            services.set_share(
                tenant_id=one.id, weight=1, guarantee=0, ceiling=9, author="op", now=NOW
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
            {"tenant": str(tenant.id), "weight": "2", "guarantee": "1", "ceiling": "7"},
        )
        assert page.status_code == 302
        with scopes.system_scope():
            share = TenantShare.objects.get(tenant=tenant)
        assert (share.weight, share.ceiling, share.updated_by) == (2, 7, "op")

    def test_a_ceiling_below_the_guarantee_is_shown_as_a_fault(self, operator):
        page = operator.post(
            "/admin/scheduling/tenantshare/add/",
            {"tenant": str(factories.tenant().id), "weight": "2", "guarantee": "9", "ceiling": "7"},
        )
        assert page.status_code == 200


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
