"""What operators ask of devices' software, and the attribute schema: each with its history."""

from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from clients import selectors, services, software
from clients.models import AttributeChange, AttributeDefinition, Device, SdkRequirement
from core.ids import uuid7
from jobs import services as job_services
from tenants import scopes
from tenants.models import AuditEntry
from tests.integration import factories
from tests.integration.factories import NOW, later


@pytest.fixture(autouse=True)
def system(db):
    with scopes.system_scope():
        yield


def require(percent=10, grace_days=2, pool=None, reason="a hole", now=NOW, **changes):
    fields = {"name": "acme", "minimum": "0.2"} | changes
    return services.require_sdk(
        pool_id=pool.id if pool else None, percent=percent, grace_days=grace_days, reason=reason,
        author="op", now=now, **fields,
    )  # fmt: skip


def moved(move, row, now=NOW):
    return move(requirement_id=row.id, author="eve", now=now)


class TestRollout:
    def test_it_is_raised_in_steps_and_each_keeps_its_time(self):
        row = require(percent=10)
        raised = moved(services.raise_requirement, row, later(60))
        due = [datetime.fromisoformat(one) for _, one in raised.steps]
        assert [part for part, _ in raised.steps] == [10, 25]
        assert due == [NOW + timedelta(days=2), later(60) + timedelta(days=2)]
        for expected in (50, 100):
            raised = moved(services.raise_requirement, raised)
            assert raised.percent == expected
        with pytest.raises(services.RequirementInvalid, match="come to all"):
            moved(services.raise_requirement, raised)
        assert SdkRequirement.objects.count() == 4

    def test_it_is_paused_rolled_back_and_chosen_again(self):
        row = require(percent=10)
        paused = moved(services.pause_requirement, row)
        assert (paused.paused, selectors.requirements()) == (True, [])
        going = moved(services.pause_requirement, paused)
        [asked] = selectors.requirements()
        assert (going.paused, asked.steps[0].percent) == (False, 10)
        back = moved(services.roll_back_requirement, going)
        assert (back.percent, selectors.requirements()) == (0, [])
        again = moved(services.revert_requirement, row, later(9))
        assert (again.steps, again.reason) == (
            row.steps, "back to the requirement of 2026-01-02 03:04 UTC by op",
        )  # fmt: skip
        entry = AuditEntry.objects.filter(action="sdk_requirement.set").latest("id")
        assert (entry.actor, entry.target, entry.detail["percent"]) == ("eve", "acme 0.2", 10)

    def test_only_the_newest_row_moves(self):
        row = require()
        require(percent=20)
        for move in (services.raise_requirement, services.pause_requirement):
            with pytest.raises(services.RequirementInvalid, match="changed meanwhile"):
                moved(move, row)
        nobody = require(percent=0)
        with pytest.raises(services.RequirementInvalid, match="come to nobody"):
            moved(services.roll_back_requirement, nobody)

    def test_it_says_what_is_wrong_by_field(self):
        with pytest.raises(services.RequirementInvalid) as refused:
            require(101, float("nan"), reason="", name="a b", minimum="new")
        assert set(refused.value.errors) == {
            "percent", "grace_days", "reason", "software", "minimum",
        }  # fmt: skip

    def test_it_counts_who_meets_it_and_who_would_be_shut_out(self):
        mine, other = factories.pool(), factories.pool()
        below = []
        for number, sdk in enumerate(["acme 0.1"] * 20 + ["acme/0.2.1"] * 3 + ["else 9"] * 2):
            device = factories.device(mine if number % 5 else other)
            Device.objects.filter(id=device.id).update(sdk=sdk, seen_at=NOW)
            if sdk == "acme 0.1":
                below.append((device.pool_id, str(device.id)))
        away = factories.device(mine)
        Device.objects.filter(id=away.id).update(sdk="acme 0.1", seen_at=NOW - timedelta(days=8))
        everywhere, here = require(percent=50), require(percent=50, pool=mine)
        found = selectors.reach([everywhere, here], now=NOW)
        # As the gateway chooses them.
        chosen = {key for key in below if software.place_of(key[1], "0.2") < 50}
        assert found[everywhere.pk] == selectors.Reach(3, 20, len(chosen), 2)
        in_mine = [key for key in below if key[0] == mine.id]
        assert found[here.pk].below == len(in_mine)
        assert found[here.pk].chosen == len(chosen & set(in_mine))


class TestConsole:
    @pytest.fixture
    def operator(self, client):
        client.force_login(User.objects.create_superuser("op"))
        return client

    LIST = "/admin/clients/sdkrequirement/"

    def test_a_rollout_is_started_raised_paused_and_rolled_back_by_clicks(self, operator):
        device = factories.device(factories.pool())
        Device.objects.filter(id=device.id).update(sdk="propius-python/0.1.0", seen_at=NOW)
        fields = {
            "software": "propius-python", "minimum": "0.2", "percent": "10", "grace_days": "7",
            "reason": "a hole",
        }  # fmt: skip
        assert operator.post(f"{self.LIST}add/", fields).status_code == 302
        for verb, words, percent in (
            ("raise", "asked of 25 %", 25), ("pause", "and paused", 25), ("pause", "25 %", 25),
            ("roll-back", "asked of 10 %", 10),
        ):  # fmt: skip
            row = SdkRequirement.objects.latest("id")
            click = f"{self.LIST}{row.id}/{verb}/"
            assert click in operator.get(self.LIST).content.decode()
            assert words in operator.post(click, follow=True).content.decode()
            newest = SdkRequirement.objects.latest("id")
            assert (newest.percent, newest.author) == (percent, "op")
        stale = operator.post(f"{self.LIST}{row.id}/raise/", follow=True).content
        assert b"it was changed meanwhile" in stale
        wrong = operator.post(f"{self.LIST}add/", fields | {"minimum": "new"}, follow=True)
        assert b"up to four numbers" in wrong.content

    def test_a_device_leads_to_its_whole_history(self, operator):
        tenant = factories.tenant()
        pool = factories.pool(tenant)
        round_ = factories.open_round(factories.job(tenant))
        bindings = [
            job_services.Binding(uuid7(), round_.id, factories.device(pool).id, 1) for _ in range(2)
        ]
        job_services.assign(bindings=bindings, now=NOW)
        one = bindings[0].device_id
        page = operator.get(f"/admin/clients/device/{one}/change/").content.decode()
        address = f"/admin/jobs/assignment/?device__id__exact={one}"
        assert f'href="{address}"' in page
        [row] = operator.get(address).context["cl"].result_list
        assert row.id == bindings[0].assignment_id

    def test_the_list_costs_as_many_queries_whatever_its_length(self, operator):
        def cost():
            with CaptureQueriesContext(connection) as queries:
                assert operator.get(self.LIST).status_code == 200
            return len(queries)

        require(pool=factories.pool())
        first = cost()
        for number in range(5):
            require(pool=factories.pool())
            require(percent=number)
        assert cost() == first

    def test_the_schema_changes_with_a_reason_and_each_line_can_be_had_again(self, operator):
        add = "/admin/clients/attributedefinition/add/"
        fields = {"name": "lidar", "type": "boolean", "unit": "", "description": "Has one"}
        assert operator.post(add, fields).status_code == 200  # no reason
        assert operator.post(add, fields | {"reason": "cars"}).status_code == 302
        change = "/admin/clients/attributedefinition/lidar/change/"
        now_a_number = fields | {"type": "number", "reason": "how many"}
        assert operator.post(change, now_a_number).status_code == 302
        assert operator.post(change, now_a_number | {"remove": "on"}).status_code == 302
        assert not AttributeDefinition.objects.filter(name="lidar").exists()
        first, second, third = AttributeChange.objects.filter(name="lidar").order_by("id")
        assert [first.type, second.type, third.removed] == ["boolean", "number", True]
        listed = "/admin/clients/attributechange/"
        assert f"{listed}{first.id}/revert/" in operator.get(listed).content.decode()
        assert operator.post(f"{listed}{first.id}/revert/").status_code == 302
        assert AttributeDefinition.objects.get(name="lidar").type == "boolean"
        assert operator.post(f"{listed}{third.id}/revert/").status_code == 302
        assert not AttributeDefinition.objects.filter(name="lidar").exists()
        entry = AuditEntry.objects.filter(action="attribute.remove").latest("id")
        assert (entry.actor, entry.target) == ("op", "lidar")

    def test_a_name_that_devices_cannot_say_is_refused(self, operator):
        add = "/admin/clients/attributedefinition/add/"
        fields = {"name": "Li dar", "type": "boolean", "description": "x", "reason": "y"}
        assert b"a letter, then letters" in operator.post(add, fields, follow=True).content
        with pytest.raises(services.AttributeInvalid) as refused:
            services.define_attribute(
                name="x", kind="list", unit="", description="", reason="", author="op", now=NOW
            )
        assert set(refused.value.errors) == {"type", "reason"}


def test_a_quota_of_the_history_is_set_again_with_one_click(client):
    from scheduling import services as scheduling_services
    from scheduling.models import QuotaChange, TenantQuota

    client.force_login(User.objects.create_superuser("op"))
    tenant = factories.tenant()
    for jobs in (1, 9):
        scheduling_services.set_quota(
            tenant_id=tenant.id, jobs=jobs, devices=None, device_hours=None, stored_bytes=None,
            author="eve", reason="trial", now=NOW,
        )  # fmt: skip
    old = QuotaChange.objects.earliest("id")
    listed = "/admin/scheduling/quotachange/"
    assert f"{listed}{old.id}/revert/" in client.get(listed).content.decode()
    assert client.post(f"{listed}{old.id}/revert/").status_code == 302
    quota = TenantQuota.objects.get(tenant=tenant)
    assert (quota.jobs, quota.updated_by) == (1, "op")
    assert quota.reason == "back to the quota of 2026-01-02 03:04 UTC by eve"


def test_the_list_of_quotas_costs_as_many_queries_whatever_its_length(client):
    from scheduling.models import TenantQuota

    client.force_login(User.objects.create_superuser("op"))

    def cost():
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/admin/scheduling/tenantquota/").status_code == 200
        return len(queries)

    def give():
        TenantQuota.objects.create(
            tenant=factories.tenant(), reason="x", updated_by="op", updated_at=NOW
        )

    give()
    first = cost()
    give()
    give()
    assert cost() == first
