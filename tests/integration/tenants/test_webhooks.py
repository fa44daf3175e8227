"""Webhooks against a real receiver: signed, tried again, never into a private network."""

import contextlib
import hashlib
import hmac
import itertools
import json
import socket
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.test import Client
from django.utils import timezone

from core import events, knobs
from core.errors import Invalid
from tenants import services
from tenants.models import Delivery, Webhook
from tenants.scopes import scope, system_scope
from tenants.webhooks import delivering, sending, signing
from tests.integration import factories

LATER = timedelta(seconds=2)


class Receiver:
    """An HTTP server that keeps what it gets and answers as told."""

    def __init__(self):
        self.got, self.answers = [], [200]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((dict(self.headers), body))
                status = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", outer.url + "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver():
    one = Receiver()
    yield one
    one.close()


@pytest.fixture
def any_address(monkeypatch):
    monkeypatch.setenv("PROPIUS_WEBHOOK_ADDRESSES", "any")
    knobs.get.cache_clear()
    yield
    knobs.get.cache_clear()


@pytest.fixture
def acme(db):
    return factories.tenant("acme")


def hooked(tenant, url, *kinds):
    with scope(tenant.id):
        return services.create_webhook(
            tenant_id=tenant.id, url=url, kinds=kinds or None, actor="ada", now=timezone.now()
        )


def happen(tenant, kind, at, **data):
    with scope(tenant.id):
        events.append(kind, now=at, tenant_id=tenant.id, **data)


def work(now, **pass_):
    with system_scope():
        delivering.queue(now=now)
        return delivering.send(now=now, **pass_)


def log(tenant):
    with scope(tenant.id):
        return list(Delivery.objects.order_by("id").values("kind", "status", "attempts", "answer"))


def test_it_sends_a_signed_event_once(acme, receiver, any_address):
    now = timezone.now()
    happen(acme, "job.failed", now - timedelta(hours=1), code="before")
    _, secret = hooked(acme, receiver.url, "job.failed")
    happen(acme, "job.failed", now, code="quorum")
    happen(acme, "round.opened", now)
    happen(factories.tenant(), "job.failed", now)
    for _ in range(2):
        work(now + LATER)
    ((headers, body),) = receiver.got
    told = json.loads(body)
    assert (told["kind"], told["data"], told["tenant"]) == (
        "job.failed", {"code": "quorum"}, str(acme.id),
    )  # fmt: skip
    at, given = (one.split("=")[1] for one in headers["Propius-Signature"].split(","))
    mac = hmac.digest(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hex()
    assert mac == given
    assert log(acme) == [
        {"kind": "job.failed", "status": "delivered", "attempts": 1, "answer": 200}
    ]


def test_it_tries_again_and_gives_up_in_the_end(acme, receiver, any_address):
    now = timezone.now()
    hooked(acme, receiver.url)
    happen(acme, "job.completed", now)
    receiver.answers = [500]
    assert work(now + LATER) == 1
    assert work(now + LATER) == 0  # not yet
    receiver.answers = [302]  # a redirect is not followed: it could lead anywhere
    later = now + LATER
    for wait in delivering.WAITS:
        later += wait
        assert work(later) == 1
    assert work(later + timedelta(days=9)) == 0
    assert len(receiver.got) == 1 + len(delivering.WAITS)
    assert log(acme)[0]["status"] == "failed"
    with system_scope():
        assert delivering.forget(now=later + timedelta(days=30)) == 1


def test_a_late_commit_with_a_smaller_number_is_still_sent(acme, receiver, any_address):
    now = timezone.now()
    webhook, _ = hooked(acme, receiver.url)
    happen(acme, "job.completed", now)
    work(now + LATER)
    with system_scope():
        # What was read is not yet behind us: a smaller number may come to light.
        assert Webhook.objects.get(id=webhook.id).read_up_to < events.last_of_tenant(acme.id)
    happen(acme, "job.failed", now)
    work(now + LATER)
    work(now + timedelta(minutes=2))
    assert [headers["Propius-Event"] for headers, _ in receiver.got] == [
        "job.completed", "job.failed",
    ]  # fmt: skip
    with system_scope():
        assert Webhook.objects.get(id=webhook.id).read_up_to == events.last_of_tenant(acme.id)


def test_one_that_cannot_be_sent_holds_up_no_other(acme, receiver, any_address):
    now = timezone.now()
    no_name, _ = hooked(acme, f"http://{'a' * 64}.example.org/", "job.failed")
    sealed, _ = hooked(acme, receiver.url, "job.failed")
    hooked(acme, receiver.url, "job.failed")
    with scope(acme.id):
        Webhook.objects.filter(id=sealed.id).update(secret=b"of another key")
    happen(acme, "job.failed", now)
    assert work(now + LATER) == 3
    with scope(acme.id):
        found = {one.webhook_id: one for one in Delivery.objects.all()}
    assert "ConnectError" in found.pop(no_name.id).error
    assert "PROPIUS_SECRET_KEY" in found.pop(sealed.id).error
    assert [one.status for one in found.values()] == ["delivered"]


def test_one_that_cannot_be_settled_holds_up_no_other(acme):
    """One has an error longer than the column, another more tries than its column holds."""
    now = timezone.now()
    zeros = "0" * 58
    long, _ = hooked(acme, f"https://0x{zeros}7f.0x{zeros}.0x{zeros}.0x{zeros}1/", "job.failed")
    tired, _ = hooked(acme, "https://127.0.0.1/", "job.failed")
    plain, _ = hooked(acme, "https://127.0.0.1/", "job.failed")
    happen(acme, "job.failed", now)
    with system_scope():
        delivering.queue(now=now + LATER)
        Delivery.objects.filter(webhook=tired).update(attempts=32_767)
        assert delivering.send(now=now + LATER) == 3
        found = {one.webhook_id: one for one in Delivery.objects.all()}
    assert len(found[long.id].error) == 200
    assert [found[one.id].attempts for one in (long, tired, plain)] == [1, 32_767, 1]
    assert found[tired.id].next_at == now + LATER + delivering.CLAIM


def test_a_tenant_whose_receivers_do_not_answer_holds_up_no_other(
    acme, receiver, any_address, unused_tcp_port
):
    now = timezone.now()
    other = factories.tenant("other")
    for _ in range(2 * delivering.OF_TENANT):
        hooked(acme, f"http://127.0.0.1:{unused_tcp_port}/", "job.failed")
    hooked(other, receiver.url, "job.failed")
    happen(acme, "job.failed", now)
    happen(other, "job.failed", now)
    assert work(now + LATER) == delivering.OF_TENANT + 1
    assert [one["status"] for one in log(other)] == ["delivered"]
    assert work(now + LATER) == delivering.OF_TENANT
    assert work(now + LATER) == 0
    assert [one["attempts"] for one in log(acme)] == [1] * 2 * delivering.OF_TENANT


def test_a_tenant_whose_receiver_answers_is_served_in_one_pass(acme, receiver, any_address):
    now = timezone.now()
    for _ in range(2 * delivering.OF_TENANT + 1):
        hooked(acme, receiver.url, "job.failed")
    happen(acme, "job.failed", now)
    assert work(now + LATER) == 2 * delivering.OF_TENANT + 1


def test_what_a_pass_has_no_time_to_begin_is_given_back(acme, receiver, any_address):
    now = timezone.now()
    for _ in range(2):
        hooked(acme, receiver.url, "job.failed")
    happen(acme, "job.failed", now)
    # The pass begins, claims, and begins one delivery; then its time is up.
    readings = itertools.chain([0.0] * 3, itertools.repeat(delivering.BEGIN_S))
    assert work(now + LATER, clock=readings.__next__) == 1
    assert len(receiver.got) == 1
    assert work(now + LATER) == 1
    assert [one["attempts"] for one in log(acme)] == [1, 1]


def test_a_signature_is_of_the_moment_of_sending(acme, receiver, any_address):
    now = timezone.now()
    hooked(acme, receiver.url, "job.failed")
    happen(acme, "job.failed", now)
    work(now + timedelta(days=1))
    headers, _ = receiver.got[0]
    at = int(headers["Propius-Signature"].split(",")[0].removeprefix("t="))
    assert int(now.timestamp()) <= at <= time.time()


def test_a_secret_outlasts_the_key_that_sealed_it(acme, receiver, any_address, settings):
    webhook, secret = hooked(acme, receiver.url, "job.failed")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 50, [settings.SECRET_KEY]
    assert signing.opened(bytes(webhook.secret)) == secret
    work(timezone.now())
    settings.SECRET_KEY_FALLBACKS = []
    with scope(acme.id):
        assert signing.opened(bytes(Webhook.objects.get().secret)) == secret


def test_a_receiver_that_drips_its_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(sending, "WHOLE_S", 0.3)
    ended = threading.Event()

    def drip(listener):
        line, _ = listener.accept()
        with line, contextlib.suppress(OSError):
            line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not ended.wait(0.02):
                line.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        outcome = sending.post(url, b"{}", {}, private=True)
        ended.set()
        thread.join()
    assert outcome.status is None
    assert "ReadTimeout" in outcome.error


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_it_never_reaches_into_a_private_network(receiver, host):
    url = receiver.url.replace("127.0.0.1", host)
    outcome = sending.post(url, b"{}", {}, private=False)
    assert (outcome.status, receiver.got) == (None, [])
    assert "private network" in outcome.error


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "100.64.0.1", "169.254.169.254", "224.0.1.1", "::1", "fe80::1%1", "fc00::1",
        "fec0::1", "ff0e::1", "::127.0.0.1", "::8.8.8.8", "::ffff:10.0.0.1", "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::",
        "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:f5ff:fffe", "2001:db8::1",
    ],
)  # fmt: skip
def test_no_form_of_an_address_leads_into_a_private_network(address):
    assert not sending.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_public(address):
    assert sending.is_public(address)


def test_nobody_there_is_an_outcome_in_words(unused_tcp_port):
    outcome = sending.post(f"http://127.0.0.1:{unused_tcp_port}/", b"{}", {}, private=True)
    assert not outcome.taken
    assert "ConnectError" in outcome.error


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://example.org/", "only https"),
        ("ftp://example.org/", "https://example.org"),
        ("https://me:secret@example.org/", "password"),
        ("https://example.org:x/", "Port"),
        ("nonsense", "https://example.org"),
    ],
)
def test_a_bad_address_is_refused_by_name(acme, url, fault):
    with pytest.raises(Invalid) as refused:
        hooked(acme, url)
    assert fault in refused.value.errors["url"]


def test_unknown_kinds_and_too_many_are_refused(acme):
    with pytest.raises(Invalid, match="webhook") as refused:
        hooked(acme, "https://example.org/", "job.danced")
    assert "job.danced" in refused.value.errors["kinds"]
    for _ in range(20):
        hooked(acme, "https://example.org/")
    with pytest.raises(services.TooManyWebhooks):
        hooked(acme, "https://example.org/")


def test_the_page_makes_tests_and_deletes_a_webhook(acme, receiver, any_address):
    browser = Client()
    browser.force_login(factories.member(acme, "admin"))
    form = {"url": receiver.url, "kinds": ["job.failed"]}
    assert "ppw_" in browser.post("/settings/webhooks/new/", form).content.decode()
    assert "ppw_" not in browser.get("/settings/webhooks/").content.decode()
    with scope(acme.id):
        webhook = Webhook.objects.get()
        assert b"ppw_" not in bytes(webhook.secret)
    browser.post(f"/settings/webhooks/{webhook.id}/test/")
    work(timezone.now() + LATER)
    assert json.loads(receiver.got[0][1])["kind"] == "webhook.test"
    assert "Delivered" in browser.get("/settings/webhooks/").content.decode()
    browser.post(f"/settings/webhooks/{webhook.id}/delete/")
    happen(acme, "job.failed", timezone.now())
    work(timezone.now() + LATER)
    assert len(receiver.got) == 1
