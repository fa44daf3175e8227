"""Idempotency-Key: a replay gets the first answer, and nothing happens twice."""

import threading
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients import services as client_services
from clients.models import Device, Pool
from core import knobs
from propius import wire
from tenants import idempotency
from tenants.models import ApiToken, StoredAnswer
from tenants.scopes import scope, system_scope
from tests.integration import factories


def caller(tenant, *scopes):
    secret = factories.token(tenant, *scopes)

    def post(path, body=None, key=None, kind="application/json"):
        headers = {"Authorization": f"Bearer {secret}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return Client().post(f"/api/v1/{path}", body or {}, content_type=kind, headers=headers)

    return post


def test_a_replay_gets_the_first_answer_with_its_secret(db):
    acme = factories.tenant()
    post = caller(acme)
    first = post("tokens", {"name": "ci"}, key="k1")
    again = post("tokens", {"name": "ci"}, key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.json()["secret"].startswith("ppt_")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    with system_scope():
        assert ApiToken.objects.filter(name="ci").count() == 1
        stored = StoredAnswer.objects.get()
    assert first.json()["secret"].encode() not in bytes(stored.body)
    assert "k1" not in stored.key


def test_the_same_key_for_another_request_is_refused(db):
    post = caller(factories.tenant())
    assert post("pools", {"name": "wards"}, key="k1").status_code == 201
    other = post("pools", {"name": "beds"}, key="k1")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert post("tokens", {"name": "wards"}, key="k1").status_code == 409
    assert post("pools", {"name": "beds"}, key="k2").status_code == 201


def test_another_callers_equal_key_is_another_one(db):
    acme = factories.tenant()
    first = caller(acme)("tokens", {"name": "a"}, key="k1")
    second = caller(acme)("tokens", {"name": "a"}, key="k1")
    third = caller(factories.tenant())("tokens", {"name": "a"}, key="k1")
    assert len({one.json()["secret"] for one in (first, second, third)}) == 3


def test_an_error_is_not_kept(db):
    acme = factories.tenant()
    post = caller(acme)
    pool = factories.pool(acme, "wards")
    assert post("pools", {"name": "wards"}, key="k1").status_code == 409
    with system_scope():
        client_services.delete_pool(pool_id=pool.id, actor="x", now=factories.NOW)
    assert post("pools", {"name": "wards"}, key="k1").status_code == 201
    narrow = caller(acme, "tenant:read")
    assert narrow("pools", {"name": "beds"}, key="k1").status_code == 403


@pytest.mark.parametrize("key", ["", "k" * 101, "a\tb"])
def test_a_bad_key_is_named(db, key):
    answer = caller(factories.tenant())("pools", {"name": "wards"}, key=key)
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["errors"]


def test_an_upload_is_told_apart_by_its_bytes(db):
    import numpy as np

    from propius import arrays

    one, two = (arrays.save({"w": np.full(2, n, np.float32)}) for n in (1, 2))
    post = caller(factories.tenant())
    first = post("parameters", one, key="k1", kind="application/octet-stream")
    again = post("parameters", one, key="k1", kind="application/octet-stream")
    other = post("parameters", two, key="k1", kind="application/octet-stream")
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 409)
    assert again.headers["Idempotency-Replayed"] == "true"


def test_an_enrolment_is_replayed_too(db):
    now = timezone.now()
    with system_scope():
        _, secret = client_services.create_enrolment_token(
            pool=factories.pool(), name="x", max_uses=5, created_by="x", now=now,
            expires_at=now + timedelta(hours=1),
        )  # fmt: skip

    def enrol(public_key):
        body = {"token": secret, "public_key": public_key, "sdk": "x"}
        return Client().post(
            "/api/v1/devices/enrol", body, content_type="application/json",
            headers={"Idempotency-Key": "boot"},
        )  # fmt: skip

    keys = [
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ]
    first, again, other = enrol(keys[0]), enrol(keys[0]), enrol(keys[1])
    assert [one.status_code for one in (first, again, other)] == [201, 201, 201]
    assert first.json() == again.json() != other.json()


def test_a_device_leaves_once_for_its_key(db):
    key = Ed25519PrivateKey.generate()
    device = factories.device(factories.pool())
    with system_scope():
        public = key.public_key().public_bytes_raw().hex()
        Device.objects.filter(id=device.id).update(public_key=public)

    def leave(text):
        signature = key.sign(wire.leaving(str(device.id))).hex()
        return Client().post(
            "/api/v1/devices/leave", {"device": str(device.id), "signature": signature},
            content_type="application/json", headers={"Idempotency-Key": text},
        )  # fmt: skip

    answers = [leave("bye"), leave("bye"), leave("bye again")]
    assert [(one.status_code, one.content) for one in answers] == [(204, b"")] * 3
    assert ["Idempotency-Replayed" in one.headers for one in answers] == [False, True, False]


def test_answers_stay_behind_the_wall_and_are_forgotten(db):
    mine, theirs = factories.tenant(), factories.tenant()
    for one in (mine, theirs):
        caller(one)("pools", {"name": "wards"}, key="k1")
    with scope(mine.id):
        assert [row.tenant_id for row in StoredAnswer.objects.all()] == [mine.id]
    day = knobs.get().idempotency_s
    with system_scope():
        assert idempotency.sweep(now=timezone.now() + timedelta(seconds=day - 60)) == 0
        assert idempotency.sweep(now=timezone.now() + timedelta(seconds=day + 60)) == 2


@pytest.mark.django_db(transaction=True)
def test_replays_at_the_same_moment_do_it_once():
    acme = factories.tenant()
    post = caller(acme)
    answers, barrier = [], threading.Barrier(5)

    def send():
        barrier.wait()
        try:
            answers.append(post("pools", {"name": "wards"}, key="k1"))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [one.status_code for one in answers] == [201] * 5
    assert len({one.json()["id"] for one in answers}) == 1
    assert sum("Idempotency-Replayed" in one.headers for one in answers) == 4


@settings(
    max_examples=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    requests=st.lists(
        st.tuples(st.sampled_from(["k1", "k2", "k3"]), st.sampled_from(["a", "b", "c"])),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_whatever_is_repeated_each_key_does_one_thing_once(db, requests):
    """Against a model: the first body of a key is done; the same again is answered, others not."""
    acme = factories.tenant()
    post = caller(acme)
    done, answers = {}, {}
    for key, name in requests:
        answer = post("pools", {"name": name}, key=key)
        if key in done:
            assert answer.status_code == (201 if done[key] == name else 409)
            assert done[key] != name or answer.json() == answers[key]
        elif name in done.values():
            assert (answer.status_code, answer.json()["code"]) == (409, "pool_name_taken")
        else:
            assert answer.status_code == 201
            done[key], answers[key] = name, answer.json()
    with scope(acme.id):
        assert sorted(one.name for one in Pool.objects.filter(tenant=acme)) == sorted(done.values())
