"""Requests that only an attacker or a broken client would send: a clear 4xx, never a 500."""

import base64
import json
from datetime import timedelta

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.utils import timezone

from clients import services as client_services
from jobs.models import Job
from propius_site import asgi
from tenants.scopes import system_scope
from tests.integration import factories


@pytest.fixture
def owner():
    acme = factories.tenant("acme")
    factories.parameters(acme)
    return {"Authorization": f"Bearer {factories.token(acme)}"}


def spec(text: str) -> bytes:
    """Return a job file whose handler has ``config = {"x": …}``, as raw JSON."""
    plain = factories.spec(workload__config={"x": "HERE"})
    return json.dumps(plain).replace('"HERE"', text).encode()


HOSTILE = {
    "infinity by exponent": spec("1e999"),
    "NaN": spec("NaN"),
    "NUL": spec('"\\u0000"'),
    "half a surrogate pair": spec('"\\ud800"'),
    "5000 digits": spec("1" * 5000),
    "400 digits": spec("1" * 400),
    "not UTF-8": b'{"name": "\xff"}',
    "deep": b"[" * 100_000,
    "rather deep": b"[" * 500 + b"]" * 500,
    "no object": b"[1]",
    "nothing": b"",
    "a field with half a pair": b'{"\\ud800": 1}',
}


@pytest.mark.django_db(transaction=True)
def test_it_answers_hostile_bodies_with_a_problem(client, owner):
    for path in ("jobs", "tokens", "pools", "devices/enrol"):
        for name, body in HOSTILE.items():
            answer = client.post(
                f"/api/v1/{path}", body, content_type="application/json", headers=owner
            )
            assert 400 <= answer.status_code < 500, (path, name)
            assert answer.headers["Content-Type"] == "application/problem+json", (path, name)
    with system_scope():
        assert Job.objects.count() == 0


def test_it_reads_no_more_than_a_megabyte(client):
    body = b'{"token": "' + b"x" * (1 << 20) + b'"}'
    answer = client.post("/api/v1/devices/enrol", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_it_knows_no_other_encoding_than_utf_8(client):
    for charset in ("zlib", "rot13", "utf-7"):
        answer = client.generic(
            "POST", "/api/v1/devices/enrol", b"x\x9c\x03\x00",
            content_type=f"application/json; charset={charset}",
        )  # fmt: skip
        assert answer.status_code == 400


FORM = b"--b\r\n" + b"".join(
    f'Content-Disposition: form-data; name="{name}"\r\n\r\n\\ud800\r\n--b'.encode() + end
    for name, end in (("username", b"\r\n"), ("password", b"\r\n"), ("invitation", b"--\r\n"))
)


@pytest.mark.parametrize(
    "charset", ["unicode_escape", "zlib", "utf-7", "utf-16", "latin-1", "nonsense", "\xff"]
)
def test_it_knows_no_form_in_another_charset(db, client, owner, charset):
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    for path in ("/sign-in/", "/join/", "/admin/login/"):
        answer = client.generic("POST", path, FORM, content_type=kind)
        assert (answer.status_code, "UTF-8 is allowed" in answer.content.decode()) == (400, True)
        assert "Content-Security-Policy" in answer.headers or path == "/admin/login/"
    for path in ("devices/enrol", "tokens"):
        answer = client.generic("POST", f"/api/v1/{path}", FORM, content_type=kind, headers=owner)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert "UTF-8 is allowed" in answer.json()["detail"]


@pytest.mark.parametrize(
    "charset", ["nope''x", "utf-8''%00", "unicode_escape''%5Cud800", "idna''xn--%ff"]
)
async def test_it_refuses_a_head_that_cannot_be_read(charset):
    scope = {
        "type": "http", "method": "POST", "path": "/sign-in/", "query_string": b"",
        "headers": [(b"content-type", f"multipart/form-data; charset*={charset}".encode())],
    }  # fmt: skip
    web = ApplicationCommunicator(asgi.web, scope)
    await web.send_input({"type": "http.request", "body": b""})
    assert (await web.receive_output(30))["status"] == 400
    assert b"cannot be read" in (await web.receive_output(30))["body"]
    await web.wait(30)


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", '; charset="UTF-8"'])
def test_it_knows_forms_in_utf_8(db, client, charset):
    kind = f"multipart/form-data; boundary=b{charset}"
    answer = client.generic("POST", "/sign-in/", FORM, content_type=kind)
    assert (answer.status_code, answer.context["form"].data["username"]) == (200, "\\ud800")


@pytest.mark.parametrize(
    "list_",
    ["tenants/auditentry/?action=", "jobs/job/?name=a", "clients/sdkrequirement/?software="],
)
def test_the_console_refuses_a_nul_in_an_address(db, client, list_):
    client.force_login(User.objects.create_superuser("op", password="x"))
    assert client.get(f"/admin/{list_}").status_code in (200, 302)
    answer = client.get(f"/admin/{list_}%00")
    assert (answer.status_code, "holds a NUL" in answer.content.decode()) == (400, True)


def test_a_refusal_of_djangos_own_is_a_page(client):
    answer = client.get("/sign-in/", headers={"Host": "a b"})
    assert (answer.status_code, "cannot be read" in answer.content.decode()) == (400, True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "condition", [10**400, {"min": 10**400}, {"in": [10**400]}, {"in": [[1]]}, {}, {"min": None}]
)
def test_it_names_a_bound_that_is_no_finite_number(client, owner, condition):
    body = factories.spec(constraints__public={"cpu_score": condition})
    answer = client.post("/api/v1/jobs", body, content_type="application/json", headers=owner)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "query", ["jobs?name=%00", "jobs?status=%00", "jobs?page_size=-1", "devices?page_size=x"]
)
def test_it_answers_odd_queries(client, owner, query):
    assert client.get(f"/api/v1/{query}", headers=owner).status_code in (200, 400)


@pytest.mark.parametrize("position", ["x", "1", "", "9" * 200, "%00"])
@pytest.mark.parametrize("path", ["jobs", "pools", "devices", "tokens"])
def test_it_refuses_a_cursor_that_it_did_not_make(client, owner, path, position):
    cursor = base64.b64encode(f"p={position}".encode()).decode()
    answer = client.get(f"/api/v1/{path}?cursor={cursor}", headers=owner)
    assert answer.status_code == 404 or (position == "" and answer.status_code == 200)


@pytest.mark.django_db(transaction=True)
def test_it_asks_the_same_scope_for_head_as_for_get(client):
    narrow = {"Authorization": f"Bearer {factories.token(factories.tenant(), 'tenant:read')}"}
    for path in ("jobs", "devices", "pools"):
        assert client.head(f"/api/v1/{path}", headers=narrow).status_code == 403
    assert client.head("/api/v1/tokens", headers=narrow).status_code == 200
    assert client.head("/api/v1/jobs").status_code == 401


def test_it_takes_the_longest_names(client, owner):
    made = client.post(
        "/api/v1/pools", {"name": "p" * 60}, content_type="application/json", headers=owner
    )
    answer = client.post(
        f"/api/v1/pools/{made.json()['id']}/enrolment-tokens",
        {"name": "t" * 100, "max_uses": 1, "expires_at": "2099-01-01T00:00:00Z"},
        content_type="application/json", headers=owner,
    )  # fmt: skip
    assert answer.status_code == 201


@pytest.mark.parametrize("value", [10**400, -1e16, "\t", "x" * 101, True, [1], {"a": 1}, None])
def test_it_names_an_attribute_that_cannot_be_one(client, value):
    now = timezone.now()
    pool = factories.pool()
    with system_scope():
        _, secret = client_services.create_enrolment_token(
            pool=pool, name="x", max_uses=1, expires_at=now + timedelta(hours=1),
            created_by="x", now=now,
        )  # fmt: skip
    body = {
        "token": secret, "public_key": "ab" * 32, "sdk": "x",
        "attributes": {"cpu_score": value, "os": value},
    }  # fmt: skip
    answer = client.post("/api/v1/devices/enrol", body, content_type="application/json")
    assert answer.status_code == 400
    if value != 10**400:
        assert {"cpu_score", "os"} == set(answer.json()["errors"])
