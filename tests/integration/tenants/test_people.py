"""Members, invitations and the audit over REST and in the settings."""

import re
import threading
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from core.errors import Invalid
from tenants import services
from tenants.models import Invitation, Member
from tenants.scopes import scope, system_scope
from tests.integration import factories

PASSWORD = "long-enough-to-be-good"


@pytest.fixture
def acme(db):
    return factories.tenant("acme")


def signed_in(user):
    browser = Client()
    browser.force_login(user)
    return browser


def role_of(tenant, name):
    with system_scope():
        found = Member.objects.filter(tenant=tenant, user__username=name).first()
    return found and found.role


def member_id(tenant, user):
    with system_scope():
        return Member.objects.get(tenant=tenant, user=user).id


def patch(browser, tenant, user, role):
    return browser.patch(
        f"/api/v1/members/{member_id(tenant, user)}", {"role": role},
        content_type="application/json",
    )  # fmt: skip


def invited(tenant, role="submitter", **given):
    now = timezone.now()
    given = {"expires_at": now + timedelta(days=1), "by_role": "owner"} | given
    with scope(tenant.id):
        return services.create_invitation(
            tenant_id=tenant.id, name="Eve", role=role, actor="ada", now=now, **given
        )


def test_it_lists_members_and_changes_a_role(acme):
    ada, vera = factories.member(acme, "owner", "ada"), factories.member(acme, "viewer", "vera")
    browser = signed_in(ada)
    listed = browser.get("/api/v1/members").json()["results"]
    assert {(one["username"], one["role"]) for one in listed} == {
        ("ada", "owner"), ("vera", "viewer"),
    }  # fmt: skip
    assert patch(browser, acme, vera, "admin").json()["role"] == "admin"
    (entry,) = browser.get("/api/v1/audit").json()["results"][:1]
    assert (entry["action"], entry["detail"]) == (
        "member.set", {"before": "viewer", "after": "admin"},
    )  # fmt: skip


def test_only_owners_make_and_remove_owners(acme):
    ada, alan = factories.member(acme, "owner", "ada"), factories.member(acme, "admin", "alan")
    browser = signed_in(alan)
    assert patch(browser, acme, alan, "owner").json()["code"] == "owners_only"
    assert patch(browser, acme, ada, "viewer").json()["code"] == "owners_only"
    gone = browser.delete(f"/api/v1/members/{member_id(acme, ada)}")
    assert (gone.status_code, gone.json()["code"]) == (403, "owners_only")
    body = {"name": "Eve", "role": "owner"}
    refused = browser.post("/api/v1/invitations", body, content_type="application/json")
    assert refused.json()["code"] == "owners_only"
    assert role_of(acme, "ada") == "owner"


def test_a_token_manages_people_as_an_admin_at_most(acme):
    ada = factories.member(acme, "owner", "ada")
    bearer = {"Authorization": f"Bearer {factories.token(acme)}"}
    path = f"/api/v1/members/{member_id(acme, ada)}"
    assert Client().delete(path, headers=bearer).json()["code"] == "owners_only"


def test_a_token_gives_no_role_that_may_more_than_it_does(acme):
    vera = factories.member(acme, "viewer", "vera")
    few = factories.token(acme, "tenant:write", "tenant:read", "jobs:read")
    bearer, path = {"Authorization": f"Bearer {few}"}, f"/api/v1/members/{member_id(acme, vera)}"
    body, how = {"name": "Eve", "role": "admin"}, {"content_type": "application/json"}
    for refused in (
        Client().post("/api/v1/invitations", body, headers=bearer, **how),
        Client().patch(path, {"role": "admin"}, headers=bearer, **how),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "devices:write" in refused.json()["detail"]
    assert role_of(acme, "vera") == "viewer"
    whole = {"Authorization": f"Bearer {factories.token(acme)}"}
    assert Client().patch(path, {"role": "admin"}, headers=whole, **how).status_code == 200


@pytest.fixture
def alans(acme):
    """What the admin Alan has made: tokens, one of them with another, and invitations."""
    alan = factories.member(acme, "admin", "alan")
    browser, how = signed_in(alan), {"content_type": "application/json"}
    made = {}
    for name, scopes in (("all", None), ("reads", ["tenant:read"])):
        body = {"name": name} | ({"scopes": scopes} if scopes else {})
        made[name] = browser.post("/api/v1/tokens", body, **how).json()["secret"]
    bearer = {"Authorization": f"Bearer {made['all']}"}
    child = Client().post("/api/v1/tokens", {"name": "child"}, headers=bearer, **how)
    made["child"] = child.json()["secret"]
    for role in ("viewer", "admin"):
        body = {"name": role, "role": role}
        browser.post("/api/v1/invitations", body, **how)
    return alan, made


def still_open(acme, made):
    """The tokens that are let in, and the invitations that can be accepted."""
    in_ = set()
    for name, secret in made.items():
        asked = Client().get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"})
        in_ |= {name} if asked.status_code == 200 else set()
    with system_scope():
        invitations = Invitation.objects.filter(tenant=acme, revoked_at=None)
        return in_, set(invitations.values_list("name", flat=True))


def test_who_is_removed_leaves_no_key_behind(acme, alans):
    alan, made = alans
    others = factories.token(acme)
    browser = signed_in(factories.member(acme, "owner", "ada"))
    invited(acme, role="viewer")
    assert still_open(acme, made) == ({"all", "reads", "child"}, {"viewer", "admin", "Eve"})
    assert browser.delete(f"/api/v1/members/{member_id(acme, alan)}").status_code == 204
    assert still_open(acme, made | {"other": others}) == ({"other"}, {"Eve"})
    lines = [(one["actor"], one["action"], one["target"])
             for one in browser.get("/api/v1/audit").json()["results"]]  # fmt: skip
    assert ("ada", "token.revoke", "child") in lines
    assert ("ada", "invitation.revoke", "admin") in lines


def test_who_is_demoted_keeps_the_tokens_that_they_could_still_make(acme, alans):
    alan, made = alans
    browser = signed_in(factories.member(acme, "owner", "ada"))
    assert patch(browser, acme, alan, "admin").status_code == 200
    assert still_open(acme, made) == ({"all", "reads", "child"}, {"viewer", "admin"})
    assert patch(browser, acme, alan, "viewer").status_code == 200
    assert still_open(acme, made) == ({"reads"}, set())


def test_an_owner_made_admin_invites_no_owner_any_more(acme):
    factories.member(acme, "owner", "ada")
    bob = factories.member(acme, "owner", "bob")
    for role in ("owner", "admin"):
        body = {"name": role, "role": role}
        signed_in(bob).post("/api/v1/invitations", body, content_type="application/json")
    with scope(acme.id):
        services.change_role(
            member_id=member_id(acme, bob), role="admin", by_role="owner", actor="ada",
            now=timezone.now(),
        )  # fmt: skip
    assert still_open(acme, {}) == (set(), {"admin"})


def test_the_last_owner_stays(acme):
    ada = factories.member(acme, "owner", "ada")
    browser = signed_in(ada)
    answer = patch(browser, acme, ada, "viewer")
    assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")
    answer = browser.delete(f"/api/v1/members/{member_id(acme, ada)}")
    assert answer.json()["code"] == "last_owner"
    assert role_of(acme, "ada") == "owner"


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_demote_each_other_at_once_leave_one():
    tenant = factories.tenant()
    pair = [factories.member(tenant, "owner", name) for name in ("ada", "bob")]
    ids = [member_id(tenant, one) for one in pair]
    begin, outcomes = threading.Barrier(2), []

    def demote(mine):
        try:
            with scope(tenant.id):
                begin.wait(10)
                services.change_role(
                    member_id=mine, role="viewer", by_role="owner", actor="x", now=timezone.now()
                )
            outcomes.append("changed")
        except services.LastOwner:
            outcomes.append("last_owner")
        finally:
            connection.close()

    threads = [threading.Thread(target=demote, args=(one,)) for one in ids]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    assert sorted(outcomes) == ["changed", "last_owner"]
    with system_scope():
        assert Member.objects.filter(tenant=tenant, role="owner").count() == 1


def test_who_is_invited_makes_an_account_and_joins_once(acme):
    browser = signed_in(factories.member(acme, "owner", "ada"))
    made = browser.post(
        "/api/v1/invitations", {"name": "Eve", "role": "submitter"},
        content_type="application/json",
    )  # fmt: skip
    link = urlsplit(made.json()["link"])
    listed = browser.get("/api/v1/invitations").json()["results"]
    assert [("link" in one, one["accepted_at"]) for one in listed] == [(False, None)]
    newcomer = Client()
    shown = newcomer.get(f"{link.path}?{link.query}")
    assert (shown.status_code, shown.headers["Referrer-Policy"]) == (200, "same-origin")
    assert "Join Acme" in shown.content.decode()
    form = {"invitation": link.query.split("=")[1], "username": "eve", "password": PASSWORD}
    joined = newcomer.post("/join/", form)
    assert (joined.status_code, joined.url) == (302, "/")
    assert role_of(acme, "eve") == "submitter"
    assert newcomer.get("/api/v1/me").json()["tenant"] == "acme"
    assert Client().post("/join/", form | {"username": "eva"}).status_code == 404
    assert not User.objects.filter(username="eva").exists()


def test_joining_with_an_account_one_has_never_lowers_a_role(acme):
    ada = factories.member(acme, "owner", "ada")
    loner = User.objects.create_user("loner")
    for user, role in ((loner, "viewer"), (ada, "owner")):
        _, secret = invited(acme, role="viewer")
        assert signed_in(user).post("/join/", {"invitation": secret}).status_code == 302
        assert role_of(acme, user.username) == role


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"username": "ADA", "password": PASSWORD}, "somebody has this name"),
        ({"username": "a b", "password": PASSWORD}, "valid username"),
        ({"username": "eve", "password": "123"}, "too short"),
        ({"username": "", "password": ""}, "required"),
    ],
)
def test_a_bad_account_is_refused_by_field_and_the_invitation_stays_open(acme, given, field):
    factories.member(acme, "owner", "ada")
    invitation, secret = invited(acme)
    answer = Client().post("/join/", {"invitation": secret, **given})
    assert answer.status_code == 422
    assert field in answer.content.decode()
    with system_scope():
        assert Invitation.objects.get(id=invitation.id).accepted_at is None


def test_a_revoked_or_expired_invitation_opens_nothing(acme):
    now = timezone.now()
    revoked, first = invited(acme)
    with scope(acme.id):
        services.revoke_invitation(invitation_id=revoked.id, actor="ada", now=now)
    late, second = invited(acme)
    with system_scope():
        Invitation.objects.filter(id=late.id).update(expires_at=now)
    answers = [Client().get("/join/", {"invitation": one}) for one in (first, second, "ppi_x")]
    assert {one.status_code for one in answers} == {404}
    assert len({re.sub(r"csrf\S+", "", one.content.decode()) for one in answers}) == 1


def test_an_invitation_is_valid_for_a_month_at_most(acme):
    with pytest.raises(Invalid) as refused:
        invited(acme, expires_at=timezone.now() + timedelta(days=31))
    assert "expires_at" in refused.value.errors


def test_the_settings_show_people_tokens_and_audit(acme):
    browser = signed_in(factories.member(acme, "owner", "ada"))
    factories.member(acme, "viewer", "vera")
    page = browser.post("/settings/invitations/", {"name": "Eve", "role": "viewer", "days": 3})
    assert "/join/?invitation=ppi_" in page.content.decode()
    assert page.headers["Cache-Control"] == "no-store"
    assert "ppi_" not in browser.get("/settings/").content.decode()
    page = browser.post("/settings/tokens/new/", {"name": "ci", "scopes": ["jobs:read"]})
    assert "ppt_" in page.content.decode()
    assert browser.post("/settings/tokens/new/", {"name": "ci"}).status_code == 422
    found = browser.get("/settings/audit/", {"q": "vera"}).content.decode()
    assert "member.set" in found
    assert "<code>token.create" not in found
    assert "show all" in browser.get("/settings/audit/", {"q": "zz-none"}).content.decode()
    assert browser.get("/settings/audit/?q=%00&action=%00").status_code == 200


def test_a_viewer_sees_people_and_no_form(acme):
    page = signed_in(factories.member(acme, "viewer", "vera")).get("/settings/").content.decode()
    assert "Invite somebody" not in page
    assert "vera" in page
