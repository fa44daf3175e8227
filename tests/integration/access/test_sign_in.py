"""Signing in: throttled, audited, and never for another tenant unasked."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from core import knobs
from tenants import services
from tenants.models import AuditEntry, Member
from tenants.scopes import system_scope
from tests.integration import factories
from tests.integration.factories import NOW


@pytest.fixture
def few(monkeypatch):
    """Three attempts by account and address, five by account, eight by address."""
    for name, value in (("", 3), ("_PER_ACCOUNT", 5), ("_PER_ADDRESS", 8)):
        monkeypatch.setenv(f"PROPIUS_SIGN_INS{name}", str(value))
    knobs.get.cache_clear()
    yield
    knobs.get.cache_clear()


def sign_in(username, password="wrong", *, address="10.0.0.1", path="/sign-in/"):
    form = {"username": username, "password": password}
    return Client().post(path, form, REMOTE_ADDR=address)


@pytest.mark.parametrize("path", ["/sign-in/", "/admin/login/"])
def test_it_refuses_further_attempts_and_says_for_how_long(db, few, path):
    User.objects.create_superuser("ada", password="correct horse")
    answers = [sign_in("ada", path=path) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 300
    # Neither the right password nor another spelling of the name gets through meanwhile.
    assert sign_in("ADA", "correct horse", path=path).status_code == 429
    assert sign_in("ada", "correct horse", path=path, address="10.0.0.2").status_code == 302


def test_a_success_forgets_the_failures_before_it(db, few):
    User.objects.create_user("ada", password="correct horse")
    assert [sign_in("ada").status_code for _ in range(2)] == [200, 200]
    assert sign_in("ada", "correct horse").status_code == 302
    assert [sign_in("ada").status_code for _ in range(2)] == [200, 200]


def test_many_addresses_do_not_help_against_one_account(db, few):
    found = [sign_in("ada", address=f"10.0.1.{n}").status_code for n in range(7)]
    assert found == [200] * 5 + [429] * 2


def test_many_names_do_not_help_from_one_address(db, few):
    found = [sign_in(f"user-{n}").status_code for n in range(10)]
    assert found == [200] * 8 + [429] * 2


def test_one_hosts_many_addresses_of_ipv6_are_one_sender(db, few):
    found = [sign_in(f"u-{n}", address=f"2001:db8::{n + 1:x}").status_code for n in range(10)]
    assert found == [200] * 8 + [429] * 2
    assert sign_in("other", address="2001:db8:0:1::1").status_code == 200


def test_a_sign_in_is_audited_with_its_address(db):
    User.objects.create_user("ada", password="correct horse")
    sign_in("ada", "correct horse", address="192.0.2.7")
    with system_scope():
        entry = AuditEntry.objects.get(action="sign_in")
    assert (entry.actor, entry.address, entry.detail) == ("ada", "192.0.2.7", {})


def test_it_lets_people_in_while_redis_is_away(db, settings, caplog):
    from core import connections

    settings.REDIS_URL = "unix:///nowhere/valkey.sock"
    connections.soft_state.cache_clear()
    try:
        User.objects.create_user("ada", password="correct horse")
        assert sign_in("ada", "correct horse").status_code == 302
        assert "rate.uncounted" in caplog.text
    finally:
        connections.soft_state.cache_clear()


class TestTwoTenants:
    @pytest.fixture
    def both(self, client):
        """A person in two tenants who acts for the first; and a way out of it."""
        first, second = factories.tenant("first"), factories.tenant("second")
        factories.job(first, name="of-the-first")
        factories.job(second, name="of-the-second")
        person = factories.member(first, "viewer", "pat")
        with system_scope():
            services.add_member(tenant=second, user=person, role="owner", now=NOW)
        client.force_login(person)
        return client, first, second

    def leave(self, tenant):
        with system_scope():
            member = Member.objects.get(tenant=tenant, user__username="pat")
            services.remove_member(member_id=member.id, actor="op", now=NOW)

    @pytest.mark.parametrize("seen", ["/jobs/", "/api/v1/jobs"])
    def test_one_removed_from_the_chosen_tenant_is_asked_to_choose(self, both, seen):
        client, first, second = both
        assert b"of-the-first" in client.get(seen).content
        self.leave(first)
        page = client.get("/jobs/")
        assert page.status_code == 403
        assert b"Choose a tenant" in page.content
        assert str(second.id) in page.content.decode()
        api = client.get("/api/v1/me")
        assert (api.status_code, api.json()["code"]) == (403, "tenant_not_chosen")
        client.post("/tenant/", {"tenant": str(second.id)})
        assert b"of-the-second" in client.get(seen).content

    def test_one_removed_from_all_is_nobody(self, both):
        client, first, second = both
        assert client.get("/jobs/").status_code == 200
        self.leave(first)
        self.leave(second)
        assert b"no tenant" in client.get("/jobs/").content
        assert client.get("/api/v1/me").status_code == 401
