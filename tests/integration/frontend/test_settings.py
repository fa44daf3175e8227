"""Settings: the audit in words, and what cannot be taken back is asked about first."""

import html
import re
from uuid import uuid4

import pytest

from frontend import audit_words
from tenants import services as tenant_services
from tenants.scopes import system_scope
from tests.integration import factories


@pytest.fixture
def audited(world):
    """Return a function that writes a change of the tenant down."""

    def write(action, target, **detail):
        with system_scope():
            tenant_services.audit(
                tenant_id=world.tenant.id, actor="ada", action=action, target=str(target),
                now=factories.NOW, **detail,
            )  # fmt: skip

    return write


def rows(answer):
    body = html.unescape(answer.content.decode()).split("<tbody>")[1].split("</tbody>")[0]
    return [re.sub(r"<[^>]+>", " ", row) for row in body.split("</tr>") if row.strip()]


def test_the_audit_says_in_words_what_was_done_to_what(world, browse, audited):
    device = factories.device(world.private)
    audited("version.pin", f"{world.job.id}/3", pinned=True)
    audited("device.revoke", device.id)
    audited("parameters.upload", "a" * 64, size_bytes=12_345)
    audited("enrolment_token.create", "tablets/ward", expires_at="2026-03-04T05:06:07+00:00")
    audited("job.submit", uuid4(), demand=12_345)
    audited("later.thing", "x")
    browser = browse(world.viewer)
    answer = browser.get("/settings/audit/")
    later, gone, token, upload, revoked, pinned, *_ = rows(answer)
    assert "later: thing" in later
    assert "submitted a job" in gone
    assert "demand: 12\u202f345" in gone
    assert re.search(r"expires:\s+4 Mar 2026, 05:06 UTC", token)
    assert "size: 12.3 kB" in upload
    assert "aaaaaaaaaaaa…" in upload
    assert f"shut a device out {device.name}" in " ".join(revoked.split())
    assert "digits-mlp, version 3" in pinned
    assert "2 Jan 2026, 03:04:05 UTC" in pinned
    text = answer.content.decode()
    assert f'href="/jobs/{world.job.id}/"' in text
    assert f'href="/devices/{device.id}/"' in text
    assert '<option value="version.pin">pinned or unpinned a version</option>' in text
    assert len(rows(browser.get("/settings/audit/", {"action": "version.pin"}))) == 1


def test_the_audit_of_all_that_services_write_is_known_in_words():
    assert audit_words.did("job.submit") == "submitted a job"
    detail = {"b": None, "a": [1, True], "c_at": "no time", "id": str(uuid4())}
    assert audit_words.facts(detail) == [
        audit_words.Fact("a", "1, yes"),
        audit_words.Fact("b", "–"),
        audit_words.Fact("c", "no time"),
    ]  # fmt: skip


def test_what_cannot_be_taken_back_is_asked_about_first(world, browse):
    browser = browse(world.owner)
    with system_scope():
        tenant_services.create_webhook(
            tenant_id=world.tenant.id, url="https://example.org/", kinds=None, actor="x",
            now=factories.NOW,
        )  # fmt: skip
    factories.token(world.tenant)
    for path, do in (
        ("/settings/", "Remove the member"),
        ("/settings/tokens/", "Revoke the token"),
        ("/settings/webhooks/", "Delete the webhook"),
    ):
        text = browser.get(path).content.decode()
        for popover in re.findall(r'<div id="([^"]+)" class="confirm" popover', text):
            assert f'popovertarget="{popover}">' in text
        assert len(re.findall(f'<button class="danger">{do}</button>', text)) >= 1
        assert "Keep" in text


def test_a_new_token_may_at_first_read_and_run_jobs_for_ninety_days(world, browse):
    form = browse(world.owner).get("/settings/tokens/").context["form"]
    assert set(form["scopes"].initial) == {
        "jobs:read", "models:read", "devices:read", "tenant:read", "jobs:write",
    }  # fmt: skip
    assert form["days"].initial == 90
    assert "never if empty" in form["days"].help_text
