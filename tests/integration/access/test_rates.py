"""How often a caller may ask: standard headers on every answer, then 429 as a problem."""

import re

import pytest

from core import connections, knobs, rates
from tests.integration import factories


@pytest.fixture
def three_a_minute(monkeypatch):
    monkeypatch.setenv("PROPIUS_API_REQUESTS_PER_MINUTE", "3")
    monkeypatch.setenv("PROPIUS_ENROLMENTS_PER_MINUTE", "2")
    knobs.get.cache_clear()
    yield
    knobs.get.cache_clear()


def bearer(tenant):
    return {"Authorization": f"Bearer {factories.token(tenant)}"}


def test_each_token_has_its_own_rate(client, three_a_minute):
    acme = factories.tenant()
    first, second = bearer(acme), bearer(acme)
    answers = [client.get("/api/v1/me", headers=first) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert [one.headers["RateLimit"].split(";")[1] for one in answers] == [
        "r=2", "r=1", "r=0", "r=0",
    ]  # fmt: skip
    assert all(one.headers["RateLimit-Policy"] == '"requests";q=3;w=60' for one in answers)
    assert all(re.fullmatch(r'"requests";r=\d;t=\d+', one.headers["RateLimit"]) for one in answers)
    refused = answers[-1]
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (refused.json()["status"], refused.json()["code"]) == (429, "too_many")
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert client.get("/api/v1/me", headers=second).status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["tokens", "jobs"])
def test_what_is_refused_for_its_scope_is_counted_too(client, three_a_minute, path):
    secret = factories.token(factories.tenant(), "devices:read")
    asked = {"headers": {"Authorization": f"Bearer {secret}"}, "content_type": "application/json"}
    answers = [client.post(f"/api/v1/{path}", {}, **asked) for _ in range(4)]
    assert [one.status_code for one in answers] == [403, 403, 403, 429]
    assert answers[0].headers["RateLimit"].startswith('"requests";r=2;')


def test_enrolment_has_a_rate_by_address(client, three_a_minute):
    def enrol(address):
        body = {"token": "ppe_x", "public_key": "ab" * 32, "sdk": "x"}
        return client.post(
            "/api/v1/devices/enrol", body, content_type="application/json", REMOTE_ADDR=address
        ).status_code

    assert [enrol("10.0.0.1") for _ in range(3)] == [403, 403, 429]
    assert enrol("10.0.0.2") == 403


def test_the_bucket_drips(redis):
    rate = rates.Rate("drip", 2, 0.2)
    assert [rates.spend(rate, "a").allowed for _ in range(3)] == [True, True, False]
    waited = rates.spend(rate, "a")
    assert 0 < waited.wait_s <= 0.1
    assert rates.spend(rate, "b").allowed
    import time

    time.sleep(waited.wait_s + 0.02)
    assert rates.spend(rate, "a").allowed
    rates.forget(rate, "a")
    assert rates.spend(rate, "a").remaining == 1


def test_a_bucket_goes_away_by_itself_and_names_nobody(redis):
    rates.spend(rates.Rate("x", 10, 60), "somebody@example.org")
    (key,) = redis.keys(f"{connections.PREFIX}rate:*")
    assert b"somebody" not in key
    assert 0 < redis.pttl(key) <= 6000
