"""Pages and calls ask Postgres as often for much as for little."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

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
]  # fmt: skip


@pytest.fixture
def queries():
    """Return a function that counts the queries of each path over a tenant of a size."""

    def count(slug, size):
        now = timezone.now()
        with system_scope():
            made = seeding.seed(size, slug=slug, now=now)
            owner = User.objects.create_user(f"{slug}-owner")
            tenant_services.add_member(tenant=made.tenant, user=owner, role="owner", now=now)
        browser = Client()
        browser.force_login(owner)
        found = {}
        for path in PATHS:
            address = path.format(job=made.jobs[0].id, others=[one.id for one in made.jobs[1:3]])
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
