"""Whatever can be changed in the console leaves a line in the audit that says what and why.

The table has a row for each way to write that the registered pages offer: a new one without a row
fails here.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import RequestFactory

from clients import services as client_services
from clients.models import AttributeChange
from core.admin import Revertible
from jobs import services as job_services
from scheduling import services
from scheduling.models import QuotaChange, ShareChange, SharingPolicy
from tenants.models import AuditEntry, Member
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW, later
from tests.integration.scheduling.test_planning import run

WHY = {"reason": "as agreed"}


@dataclass(frozen=True)
class Write:
    """What is posted, and what the audit then says; ``{name}`` is the key of a row of ours."""

    fields: dict[str, Any]
    action: str
    detail: dict[str, Any] = field(default_factory=lambda: dict(WHY))
    of: str = ""


SHARE = {"weight": "2", "guarantee": "1", "ceiling": "", "lending_limit": ""} | WHY
QUOTA = {"jobs": "7", "devices": "", "device_hours": "", "stored_bytes": ""} | WHY
SOFTWARE = {"software": "acme", "minimum": "0.2", "percent": "1", "grace_days": "7"} | WHY
DATES = {"date_joined_0": "2026-01-02", "date_joined_1": "03:04:05"}
LIDAR = {"name": "lidar", "type": "boolean", "description": "Has a lidar"} | WHY
WRITES = {
    "tenants.Tenant add": Write({"slug": "new", "name": "New"} | WHY, "tenant.create"),
    "tenants.Tenant change": Write(
        {"name": "Other"} | WHY, "tenant.rename", {"after": "Other"} | WHY, "tenant"
    ),
    "tenants.Member add": Write(
        {"tenant": "{tenant}", "user": "{person}", "role": "viewer"} | WHY, "member.set",
        {"before": None, "after": "viewer"} | WHY,
    ),
    "tenants.Member change": Write(
        {"role": "admin"} | WHY, "member.set", {"before": "owner", "after": "admin"} | WHY, "member"
    ),
    "tenants.Member delete": Write(WHY, "member.remove", {"before": "owner"} | WHY, "member"),
    "tenants.Member delete_selected": Write(WHY, "member.remove", of="member"),
    "auth.User add": Write({"username": "new", "usable_password": "false"}, "user.add", {}),
    "auth.User change": Write({"username": "known"} | DATES, "user.change", {}, "person"),
    "auth.User delete": Write(WHY, "user.delete", of="person"),
    "auth.User delete_selected": Write(WHY, "user.delete", of="person"),
    "auth.Group add": Write({"name": "watch"}, "group.add", {}),
    "auth.Group change": Write({"name": "day"}, "group.change", {}, "group"),
    "auth.Group delete": Write(WHY, "group.delete", of="group"),
    "auth.Group delete_selected": Write(WHY, "group.delete", of="group"),
    "clients.Pool add": Write({"name": "new"} | WHY, "pool.create"),
    "clients.Pool change": Write(
        {"name": "other"} | WHY, "pool.rename", {"before": "empty", "after": "other"} | WHY, "pool"
    ),
    "clients.Pool delete": Write(WHY, "pool.delete", of="pool"),
    "clients.Pool delete_selected": Write(WHY, "pool.delete", of="pool"),
    "clients.Device revoke": Write(WHY, "device.revoke", of="device"),
    "clients.AttributeDefinition add": Write(LIDAR | {"name": "radar"}, "attribute.set"),
    "clients.AttributeDefinition change": Write(
        LIDAR | {"type": "number"}, "attribute.set",
        {"type": "number", "type_before": "boolean"} | WHY, "attribute",
    ),
    "clients.AttributeChange revert": Write({}, "attribute.set", {"type": "boolean"}, "line"),
    "clients.SdkRequirement add": Write(SOFTWARE, "sdk_requirement.set"),
    "clients.SdkRequirement revert": Write({}, "sdk_requirement.set", {"percent": 5}, "asked"),
    "clients.SdkRequirement raise": Write({}, "sdk_requirement.set", {"percent": 10}, "asked"),
    "clients.SdkRequirement pause": Write({}, "sdk_requirement.set", {"paused": True}, "asked"),
    "clients.SdkRequirement roll-back": Write({}, "sdk_requirement.set", {"percent": 0}, "asked"),
    "jobs.Job pause": Write(WHY, "job.pause", of="job"),
    "jobs.Job resume": Write(WHY, "job.resume", of="paused"),
    "jobs.Job cancel": Write(WHY, "job.cancel", {"name": "linear"} | WHY, "job"),
    "jobs.Maintenance add": Write(
        {"mode": "paused"} | WHY, "maintenance.set", {"before": "normal"} | WHY
    ),
    "jobs.Maintenance revert": Write({}, "maintenance.set", {}, "mode"),
    "jobs.Quarantine add": Write({"kind": "workload", "target": "x"} | WHY, "quarantine.put"),
    "jobs.Quarantine revert": Write({}, "quarantine.lift", {}, "held"),
    "scheduling.SharingPolicy add": Write(
        {"name": "irs", "parameters": '{"max_wait_s": 9}'} | WHY, "policy.set",
        {"parameters": {"max_wait_s": 9}, "name_before": "fifo", "parameters_before": {}} | WHY,
    ),
    "scheduling.SharingPolicy revert": Write({}, "policy.set", {"name_before": "fifo"}, "policy"),
    "scheduling.TenantShare add": Write(
        SHARE | {"tenant": "{stranger}"}, "share.set", {"weight": 2.0} | WHY
    ),
    "scheduling.TenantShare change": Write(
        SHARE, "share.set", {"weight": 2.0, "weight_before": 1.0, "guarantee": 1} | WHY, "share"
    ),
    "scheduling.ShareChange revert": Write({}, "share.set", {"weight_before": 1.0}, "old_share"),
    "scheduling.TenantQuota add": Write(
        QUOTA | {"tenant": "{stranger}"}, "quota.set", {"jobs": 7} | WHY
    ),
    "scheduling.TenantQuota change": Write(
        QUOTA, "quota.set", {"jobs": 7, "jobs_before": 3} | WHY, "quota"
    ),
    "scheduling.QuotaChange revert": Write({}, "quota.set", {"jobs_before": 3}, "old_quota"),
    "scheduling.GatewayDrain add": Write(
        {"gateway": "gw-1"} | WHY, "gateway.drain", {"sockets": 7} | WHY
    ),
}  # fmt: skip


def ways() -> set[str]:
    """Every way to write: forms, actions on marked rows, and buttons of histories."""
    request = RequestFactory().get("/admin/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    found = set()
    for model, page in admin.site._registry.items():
        name = f"{model._meta.app_label}.{model.__name__}"
        verbs = [one for one in ("add", "change", "delete")
                 if getattr(page, f"has_{one}_permission")(request)]  # fmt: skip
        verbs += list(page.get_actions(request))
        verbs += page.verbs if isinstance(page, Revertible) else ()
        found |= {f"{name} {verb}" for verb in verbs}
    return found


@pytest.fixture
def rows(db, redis) -> dict[str, Any]:
    """One row of each that can be changed, by what the table calls it."""
    tenant, who = factories.tenant(), {"author": "op", "reason": "first", "now": NOW}
    with system_scope():
        services.set_policy(name="fifo", parameters={}, **who)
        share = services.set_share(tenant_id=tenant.id, weight=1, guarantee=0, ceiling=None, **who)
        quota = services.set_quota(
            tenant_id=tenant.id, jobs=3, devices=None, device_hours=None, stored_bytes=None, **who
        )
        attribute = client_services.define_attribute(
            name="lidar", kind="boolean", unit="", description="Has one", **who
        )
        asked = client_services.require_sdk(
            pool_id=None, name="acme", minimum="0.1", percent=5, grace_days=7, **who
        )
        mode = job_services.set_maintenance(mode="normal", **who)
        held = job_services.put_in_quarantine(kind="workload", target="burns", **who)
        factories.member(tenant, "owner")
        pool = factories.pool(None, "empty")
        client_services.create_enrolment_token(
            pool=pool, name="x", max_uses=9, created_by="x", now=NOW, expires_at=later(60)
        )
        return {
            "tenant": tenant, "stranger": factories.tenant(), "person": _person(),
            "member": Member.objects.get(tenant=tenant), "pool": pool, "share": share,
            "group": Group.objects.create(name="night"), "job": factories.job(tenant),
            "paused": job_services.pause(job_id=factories.job(tenant).id, actor="x", now=NOW),
            "device": factories.device(factories.pool()), "attribute": attribute,
            "line": AttributeChange.objects.get(name="lidar"), "asked": asked, "mode": mode,
            "held": held, "policy": SharingPolicy.objects.latest("id"), "quota": quota,
            "old_share": ShareChange.objects.get(), "old_quota": QuotaChange.objects.get(),
        }  # fmt: skip


def _person() -> User:
    return User.objects.create_user("joins")


def test_each_way_to_write_has_a_row() -> None:
    assert sorted(WRITES) == sorted(ways())


def test_each_leaves_one_line_that_says_what_and_why(client, rows) -> None:
    client.force_login(User.objects.create_superuser("operator"))
    keys = {name: row.pk for name, row in rows.items()}
    wrong = {}
    for way, write in WRITES.items():
        with transaction.atomic():
            entries, status = _done(client, way, write, keys)
            transaction.set_rollback(True)
        told = [(one.action, one.actor, one.address) for one in entries]
        if told != [(write.action, "operator", "127.0.0.1")]:
            wrong[way] = (status, told)
        elif not write.detail.items() <= entries[0].detail.items():
            wrong[way] = (status, entries[0].detail)
    assert wrong == {}


def _done(client, way, write, keys) -> tuple[list[AuditEntry], int]:
    page, _, verb = way.partition(" ")
    if page == "scheduling.GatewayDrain":  # only one that lives can be asked, and 5 s are short
        run(lambda door: door.heartbeat("gw-1", groups_version="g", sockets=7, idle={}, busy={}))
    path = f"/admin/{page.lower().replace('.', '/')}/"
    key = keys[write.of] if write.of else None
    sent = {name: str(value).format(**keys) if str(value)[:2] != '{"' else value
            for name, value in write.fields.items()}  # fmt: skip
    if verb in ("add", "change", "delete"):
        path += f"{key}/{verb}/" if key else f"{verb}/"
        sent |= {"post": "yes"} if verb == "delete" else {}
    elif not sent:  # a button, which says why by itself
        path += f"{key}/{verb}/"
    else:
        sent |= {"action": verb, "_selected_action": [str(key)], "post": "yes"}
    with system_scope():
        before = set(AuditEntry.objects.values_list("id", flat=True))
    status = client.post(path, sent).status_code
    with system_scope():
        return list(AuditEntry.objects.exclude(id__in=before)), status
