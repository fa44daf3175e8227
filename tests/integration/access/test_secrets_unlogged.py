"""No secret is logged, at any level: signing in, tokens, invitations, enrolment, webhooks."""

import base64
import hashlib
import logging
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.integration import factories, logs
from tests.integration.access.callers import KEYS
from tests.integration.tenants.test_webhooks import LATER, happen, work
from tests.integration.tenants.test_webhooks import any_address as any_address
from tests.integration.tenants.test_webhooks import receiver as receiver

PASSWORD = "correct horse battery staple"


@pytest.mark.django_db(transaction=True)
def test_what_people_and_scripts_send_and_are_given(receiver, any_address):
    acme = factories.tenant("acme")
    member = factories.member(acme, "owner")
    member.set_password(PASSWORD)
    member.save()
    User.objects.create_superuser("op", password=PASSWORD)
    secrets = {"password": PASSWORD, "guess": "incorrect horse"}
    with logs.everything() as heard:
        browser = Client()
        for password in ("incorrect horse", PASSWORD):
            form = {"username": member.username, "password": password}
            answer = browser.post("/sign-in/", form)
        assert answer.status_code == 302
        secrets["session"] = browser.cookies["sessionid"].value
        basic = base64.b64encode(f"op:{PASSWORD}".encode()).decode()
        secrets["basic"] = basic
        asked = browser.post(
            "/api/v1/policy/previews", {}, content_type="application/json",
            headers={"Authorization": f"Basic {basic}"},
        )  # fmt: skip
        assert asked.status_code == 202
        secrets |= _of_the_api(factories.token(acme), receiver.url)
        happen(acme, "job.failed", timezone.now(), code="quorum")
        receiver.answers = [500, 200]
        work(timezone.now() + LATER)
        work(timezone.now() + timedelta(minutes=10))
        assert len(receiver.got) == 2
        logging.getLogger("tests").debug("so it listens")
    assert logs.told(heard, secrets) == []
    assert "so it listens" in str(heard.lines)
    assert len(heard.lines) > 3


def _of_the_api(token, hook):
    """Make one of each thing that has a secret; return the secrets."""
    found = {"token": token, "key": "an idempotency key of mine"}
    api = Client(headers={"Authorization": f"Bearer {token}", "Idempotency-Key": found["key"]})

    def made(path, kind, /, **body):
        answer = api.post(f"/api/v1/{path}", body, content_type="application/json")
        assert answer.status_code in (200, 201), answer.content
        found[kind] = str(answer.json().get("secret") or "nothing secret")
        api.defaults["HTTP_IDEMPOTENCY_KEY"] += "+"
        return answer.json()

    soon = (timezone.now() + timedelta(hours=1)).isoformat()
    made("tokens", "second token", name="ci")
    made("invitations", "invitation", name="Eve", role="viewer")
    made("webhooks", "webhook", url=hook, kinds=["job.failed"])
    pool = made("pools", "pool", name="wards")
    path = f"pools/{pool['id']}/enrolment-tokens"
    made(path, "enrolment", name="x", max_uses=2, expires_at=soon)
    found["no such enrolment"] = "ppe_" + hashlib.sha256(b"guess").hexdigest()
    for name in ("no such enrolment", "enrolment"):
        body = {"token": found[name], "public_key": KEYS[0], "sdk": "x"}
        last = api.post("/api/v1/devices/enrol", body, content_type="application/json")
    assert last.status_code == 201, last.content
    bad = Client(headers={"Authorization": f"Bearer {found['no such enrolment']}"})
    assert bad.get("/api/v1/jobs").status_code == 401
    return found
