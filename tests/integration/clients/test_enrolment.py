"""The door through which a device joins, and pools, tokens and devices over REST."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone

from clients import services
from clients.models import Device
from propius import wire
from tenants.scopes import system_scope
from tests.integration import factories

URL = "/api/v1/devices/enrol"


def key() -> tuple[Ed25519PrivateKey, str]:
    private = Ed25519PrivateKey.generate()
    return private, private.public_key().public_bytes_raw().hex()


@pytest.fixture
def pass_():
    """An enrolment token for two devices of a private pool of `acme`."""
    tenant = factories.tenant("acme")
    pool = factories.pool(tenant, "wards")
    with system_scope():
        now = timezone.now()
        _, secret = services.create_enrolment_token(
            pool=pool, name="test", max_uses=2, expires_at=now + timedelta(hours=1),
            created_by="test", now=now,
        )  # fmt: skip
    return secret


def enrol(client, token, public_key, **more):
    body = {"token": token, "public_key": public_key, "sdk": "propius 0.1"} | more
    return client.post(URL, body, content_type="application/json")


def test_it_lets_a_device_in_and_says_where_to_go(client, pass_):
    _, public = key()
    answer = enrol(client, pass_, public, name="ward 3", attributes={"cpu_score": 2.5})
    assert answer.status_code == 201
    body = answer.json()
    assert (body["pool"], body["pool_tenants"]) == ("wards", ["acme"])
    assert body["gateway"].startswith("ws://")
    assert body["gateway"].endswith("/device/v1")
    assert "cpu_score" in {one["name"] for one in body["attributes_schema"]}
    with system_scope():
        device = Device.objects.get(id=body["device"])
    assert (device.name, device.attributes) == ("ward 3", {"cpu_score": 2.5})


def test_it_knows_the_same_key_again_without_using_the_token_up(client, pass_):
    _, public = key()
    first = enrol(client, pass_, public)
    again = enrol(client, pass_, public)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["device"] == again.json()["device"]


def test_it_refuses_more_devices_than_the_token_allows(client, pass_):
    for _ in range(2):
        assert enrol(client, pass_, key()[1]).status_code == 201
    answer = enrol(client, pass_, key()[1])
    assert (answer.status_code, answer.json()["code"]) == (403, "token_used_up")
    assert "let in its 2 devices" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "status", "code", "named"),
    [
        ({"token": "ppe_wrong"}, 403, "token_unknown", ""),
        ({"public_key": "zz"}, 400, "bad_public_key", "public_key"),
        ({"attributes": {"shoe_size": 43}}, 400, "bad_attributes", "shoe_size"),
        ({"attributes": {"cpu_score": "fast"}}, 400, "bad_attributes", "cpu_score"),
        ({"colour": "blue"}, 400, "invalid", "colour"),
    ],
)
def test_it_names_what_is_wrong_and_leaves_nothing(client, pass_, change, status, code, named):
    body = {"token": pass_, "public_key": key()[1]} | change
    answer = enrol(client, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not named or named in answer.json()["errors"]
    with system_scope():
        assert Device.objects.count() == 0


def test_it_refuses_an_expired_or_revoked_token(client):
    pool = factories.pool()
    now = timezone.now()
    with system_scope():
        token, secret = services.create_enrolment_token(
            pool=pool, name="old", max_uses=1, expires_at=now, created_by="x",
            now=now - timedelta(days=1),
        )  # fmt: skip
    assert enrol(client, secret, key()[1]).json()["code"] == "token_expired"
    with system_scope():
        services.revoke_enrolment_token(token_id=token.id, actor="x", now=now)
    assert enrol(client, secret, key()[1]).json()["code"] == "token_unknown"


def hello(private, device_id, nonce="ab" * 32, **changes):
    told = {
        "device_id": str(device_id),
        "signature": private.sign(wire.proof(nonce, str(device_id))).hex(),
        "nonce": nonce,
        "sdk": "propius 0.1",
        "attributes": {"memory_mb": 512},
        "workloads": {"handler": ["b", "a"]},
        "now": timezone.now(),
    }
    with system_scope():
        return services.connect(**(told | changes))


def test_it_knows_a_device_by_its_signature_over_the_nonce(client, pass_):
    private, public = key()
    device_id = enrol(client, pass_, public).json()["device"]
    known = hello(private, device_id)
    assert (str(known.device_id), known.workloads) == (device_id, {"handler": ["a", "b"]})
    replayed = private.sign(wire.proof("cd" * 32, device_id)).hex()
    with pytest.raises(services.BadSignature):
        hello(private, device_id, signature=replayed)
    with pytest.raises(services.BadSignature):
        hello(key()[0], device_id)
    with pytest.raises(services.DeviceUnknown):
        hello(private, "not-a-uuid")


def test_it_shuts_a_revoked_device_out(client, pass_, redis):
    private, public = key()
    device_id = enrol(client, pass_, public).json()["device"]
    with system_scope():
        services.revoke_device(device_id=device_id, actor="x", now=timezone.now())
    with pytest.raises(services.DeviceRevoked):
        hello(private, device_id)
    assert enrol(client, pass_, public).json()["code"] == "key_in_use"


# --- pools, tokens and devices: an admin of the tenant, a viewer, a stranger --------------------


@pytest.fixture
def personas(client):
    acme, other = factories.tenant("acme"), factories.tenant("other")
    pool = factories.pool(acme, "wards")
    factories.pool(None, "everybody")

    def call(who, method, path, body=None):
        tokens = {
            "admin": factories.token(acme),
            "viewer": factories.token(acme, "devices:read"),
            "stranger": factories.token(other),
        }
        headers = {"Authorization": f"Bearer {tokens[who]}"} if who in tokens else {}
        return getattr(client, method)(
            f"/api/v1/{path}", body, content_type="application/json", headers=headers
        )

    return call, pool, factories.device(pool, cpu_score=1)


def names(answer):
    return {one["name"] for one in answer.json()["results"]}


def test_it_lists_own_and_shared_pools(personas):
    call, _, _ = personas
    assert names(call("viewer", "get", "pools")) == {"wards", "everybody"}
    assert names(call("stranger", "get", "pools")) == {"everybody"}
    assert call("nobody", "get", "pools").status_code == 401


def test_it_creates_pools_for_admins_only(personas):
    call, _, _ = personas
    assert call("admin", "post", "pools", {"name": "labs"}).status_code == 201
    assert call("admin", "post", "pools", {"name": "labs"}).json()["code"] == "pool_name_taken"
    refused = call("viewer", "post", "pools", {"name": "more"})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "devices:write" in refused.json()["detail"]


def test_it_shows_an_enrolment_tokens_secret_once(personas):
    call, pool, _ = personas
    path = f"pools/{pool.id}/enrolment-tokens"
    body = {"name": "rack", "max_uses": 3, "expires_at": "2099-01-01T00:00:00Z"}
    made = call("admin", "post", path, body)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("ppe_")
    listed = call("viewer", "get", path).json()["results"]
    assert [one["name"] for one in listed] == ["rack"]
    assert "secret" not in listed[0]
    assert call("stranger", "get", path).status_code == 404
    revoke = f"enrolment-tokens/{made.json()['id']}"
    assert call("stranger", "delete", revoke).status_code == 404
    assert call("admin", "delete", revoke).status_code == 204


def test_it_shows_devices_of_own_pools_only(personas):
    call, _, device = personas
    assert names(call("viewer", "get", "devices")) == {device.name}
    assert names(call("stranger", "get", "devices")) == set()
    assert call("viewer", "get", f"devices/{device.id}").json()["attributes"] == {"cpu_score": 1}
    assert call("stranger", "get", f"devices/{device.id}").status_code == 404
    assert call("stranger", "post", f"devices/{device.id}/revoke").status_code == 404
    assert call("viewer", "post", f"devices/{device.id}/revoke").status_code == 403
    assert call("admin", "post", f"devices/{device.id}/revoke").json()["status"] == "revoked"


# --- leaving ---


def leave(client, device, signature):
    body = {"device": str(device), "signature": signature}
    return client.post("/api/v1/devices/leave", body, content_type="application/json")


def test_a_device_leaves_by_its_own_word_and_may_say_it_twice(client, pass_):
    private, public = key()
    device = enrol(client, pass_, public).json()["device"]
    word = private.sign(wire.leaving(device)).hex()
    assert [leave(client, device, word).status_code for _ in range(2)] == [204, 204]
    with system_scope():
        assert Device.objects.get(id=device).status == Device.Status.REVOKED


def test_nobody_else_can_make_a_device_leave(client, pass_):
    _, public = key()
    other, _ = key()
    device = enrol(client, pass_, public).json()["device"]
    for word in (other.sign(wire.leaving(device)).hex(), "no hex"):
        answer = leave(client, device, word)
        assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")
    with system_scope():
        assert Device.objects.get(id=device).status == Device.Status.ACTIVE


def test_every_attribute_that_the_agent_measures_is_in_the_schema(tmp_path):
    from propius.agent import attributes
    from propius.agent.identity import Home
    from propius.agent.pace import Pace

    home = Home(tmp_path)
    pace = Pace(home / "pace.json")
    pace._learnt.down_bytes_per_s = 1e6
    pace._save()
    measured = attributes.measured(home, without={"cpu_score"})
    assert "network_mbps" in measured
    assert services.check_attributes(measured) == measured
