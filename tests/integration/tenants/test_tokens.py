"""API tokens over REST."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from tenants import services
from tenants.scopes import system_scope
from tests.integration import factories


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_it_says_who_the_caller_is(client):
    secret = factories.token(factories.tenant("acme"), "jobs:read", "tenant:read")
    body = client.get("/api/v1/me", headers=bearer(secret)).json()
    assert (body["tenant"], body["scopes"]) == ("acme", ["jobs:read", "tenant:read"])


def test_it_refuses_unknown_revoked_and_expired_tokens_alike(client):
    acme = factories.tenant()
    now = timezone.now()
    with system_scope():
        revoked, secret = services.create_token(
            tenant_id=acme.id, name="a", scopes=None, created_by="x", now=now
        )
        services.revoke_token(tenant_id=acme.id, token_id=revoked.id, actor="x", now=now)
        _, expired = services.create_token(
            tenant_id=acme.id, name="b", scopes=None, created_by="x", now=now,
            expires_at=now - timedelta(seconds=1),
        )  # fmt: skip
    answers = [client.get("/api/v1/me", headers=bearer(one)) for one in (secret, expired, "ppt_x")]
    assert [one.status_code for one in answers] == [401] * 3
    assert len({one.content for one in answers}) == 1
    assert answers[0].headers["WWW-Authenticate"] == 'Bearer realm="propius"'


def test_it_creates_lists_and_revokes_a_token(client):
    owner = bearer(factories.token(factories.tenant()))
    made = client.post(
        "/api/v1/tokens", {"name": "ci", "scopes": ["jobs:read"]}, headers=owner,
        content_type="application/json",
    )  # fmt: skip
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert client.get("/api/v1/jobs", headers=bearer(secret)).status_code == 200
    listed = client.get("/api/v1/tokens", headers=owner).json()["results"]
    assert {one["name"] for one in listed} == {"ci", "test"}
    assert all("secret" not in one for one in listed)
    path = f"/api/v1/tokens/{made.json()['id']}"
    stranger = bearer(factories.token(factories.tenant()))
    assert client.delete(path, headers=stranger).status_code == 404
    assert client.delete(path, headers=owner).status_code == 204
    assert client.get("/api/v1/jobs", headers=bearer(secret)).status_code == 401


def test_it_gives_no_token_more_than_its_maker_may(client):
    maker = bearer(factories.token(factories.tenant(), "tenant:write", "jobs:read"))
    answer = client.post(
        "/api/v1/tokens", {"name": "up", "scopes": ["jobs:write"]}, headers=maker,
        content_type="application/json",
    )  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "jobs:write" in answer.json()["detail"]


def test_what_a_token_makes_lasts_no_longer_than_it_does(client):
    acme, now = factories.tenant(), timezone.now()
    until = now + timedelta(hours=1)
    with system_scope():
        _, secret = services.create_token(
            tenant_id=acme.id, name="brief", scopes=None, created_by="x", now=now, expires_at=until
        )
    sooner = now + timedelta(minutes=5)
    for asked, given in ((None, until), (now + timedelta(days=9), until), (sooner, sooner)):
        body = {"name": "child"} | ({"expires_at": asked.isoformat()} if asked else {})
        made = client.post(
            "/api/v1/tokens", body, headers=bearer(secret), content_type="application/json"
        )
        assert datetime.fromisoformat(made.json()["expires_at"]) == given
    invited = client.post(
        "/api/v1/invitations", {"name": "Eve", "role": "viewer"}, headers=bearer(secret),
        content_type="application/json",
    )  # fmt: skip
    assert datetime.fromisoformat(invited.json()["expires_at"]) == until


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "x", "scopes": ["everything"]}, "scopes.0"),
        ({"name": "x", "colour": 1}, "colour"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
    ],
)
def test_it_names_the_wrong_field(client, body, field):
    owner = bearer(factories.token(factories.tenant()))
    answer = client.post("/api/v1/tokens", body, headers=owner, content_type="application/json")
    assert answer.status_code == 400
    assert field in answer.json()["errors"]


def test_a_member_acts_through_the_session_with_the_rights_of_the_role(client):
    acme = factories.tenant("acme")
    client.force_login(factories.member(acme, "viewer"))
    assert client.get("/api/v1/me").json()["role"] == "viewer"
    refused = client.post("/api/v1/tokens", {"name": "x"}, content_type="application/json")
    assert refused.status_code == 403


def test_a_member_of_no_tenant_is_nobody(client):
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_user("loner"))
    assert client.get("/api/v1/me").status_code == 401
