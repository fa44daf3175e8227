"""Pages and calls ask Postgres as often for much as for little."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clients import services as client_services
from clients.models import Device
from jobs.models import Assignment
from propius_site import seeding
from tenants import services as tenant_services
from tenants.scopes import system_scope

PATHS = [
    "/", "/jobs/", "/jobs/{job}/", "/jobs/{job}/?rounds=2&by=time&before=9",
    "/jobs/{job}/?metric=loss&compare={others[0]}&compare={others[1]}&best=loss",
    "/devices/", "/devices/eligible/?q=memory_mb >= 4096 and os = linux", "/usage/",
    "/settings/", "/settings/audit/",
    "/api/v1/jobs", "/api/v1/jobs/{job}", "/api/v1/jobs/{job}/rounds", "/api/v1/devices",
    "/api/v1/jobs/{job}/versions", "/api/v1/usage", "/api/v1/jobs/{job}/explanation",
    "/api/v1/jobs/{job}/rounds/1", "/api/v1/jobs/{job}/manifest",
    "/api/v1/jobs/{job}/events?follow=false", "/api/v1/parameters", "/api/v1/programs",
    "/api/v1/policy", "/api/v1/attributes", "/api/v1/devices/{device}", "/api/v1/pools",
    "/api/v1/pools/{pool}/enrolment-tokens", "/api/v1/me", "/api/v1/tokens", "/api/v1/members",
    "/api/v1/invitations", "/api/v1/webhooks", "/api/v1/webhooks/{webhook}/deliveries",
    "/api/v1/audit", "/api/v1/fleet", "/api/v1/fleet/day", "/api/v1/quota",
    "/api/v1/attention", "/api/v1/attributes/distributions",
    "/api/v1/assignments/{task}/device", "/api/v1/assignments/{task}/device/tasks",
]  # fmt: skip


def of_people(made, count, now):
    """Make ``count`` of each thing that a tenant's people have; return a webhook."""
    tenant, later = made.tenant, now + timedelta(days=1)
    for number in range(count):
        user = User.objects.create_user(f"{tenant.slug}-{number}")
        tenant_services.add_member(tenant=tenant, user=user, role="viewer", now=now)
        tenant_services.create_token(
            tenant_id=tenant.id, name=f"t{number}", scopes=None, created_by="x", now=now
        )
        tenant_services.create_invitation(
            tenant_id=tenant.id, name=f"i{number}", role="viewer", by_role="owner", actor="x",
            expires_at=later, now=now,
        )  # fmt: skip
        client_services.create_pool(name=f"p{number}", tenant_id=tenant.id, now=now)
        client_services.create_enrolment_token(
            pool=made.private, name="x", max_uses=9, created_by="x", now=now, expires_at=later
        )
        webhook, _ = tenant_services.create_webhook(
            tenant_id=tenant.id, url=f"https://example.org/{number}", kinds=None, actor="x", now=now
        )
    for _ in range(count):
        tenant_services.try_webhook(webhook_id=webhook.id, actor="x", now=now)
    return webhook


@pytest.fixture
def queries():
    """Return a function that counts the queries of each path over a tenant of a size."""

    def count(slug, size):
        now = timezone.now()
        with system_scope():
            made = seeding.seed(size, slug=slug, now=now)
            owner = User.objects.create_user(f"{slug}-owner")
            tenant_services.add_member(tenant=made.tenant, user=owner, role="owner", now=now)
            webhook = of_people(made, size.jobs // 4, now)
            device = Device.objects.filter(pool=made.private).first()
            task = Assignment.objects.filter(device__pool=made.shared).first()
        browser = Client()
        browser.force_login(owner)
        found = {}
        for path in PATHS:
            address = path.format(
                job=made.jobs[0].id, others=[one.id for one in made.jobs[1:3]],
                device=device.id, pool=made.private.id, webhook=webhook.id,
                task=task.id,
            )  # fmt: skip
            browser.get(address)
            with CaptureQueriesContext(connection) as asked:
                assert browser.get(address).status_code == 200
            found[path] = len(asked)
        return found

    return count


def test_the_number_of_queries_does_not_grow_with_the_rows(queries):
    few = queries("few", seeding.Size(jobs=12, rounds=36, devices=12))
    many = queries("many", seeding.Size(jobs=40, rounds=400, devices=120))
    assert {path: (few[path], many[path]) for path in PATHS if many[path] > few[path]} == {}
    assert max(many.values()) <= 50
