"""Downloads over HTTP: opened by a ticket alone, by range, cached for good."""

import hashlib
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from aggregation import blobs, tickets
from tests.integration.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_sends_the_parameters_to_the_ticket_alone_and_asks_no_database(carrier):
    digest = carrier.assignment.parameters.digest
    with CaptureQueriesContext(connection) as queries:
        answer = carrier.get(digest)
    assert answer.status == 200
    assert hashlib.sha256(answer.body).hexdigest() == digest
    assert len(answer.body) == carrier.assignment.parameters.size_bytes
    assert answer.headers == {
        "content-length": str(len(answer.body)),
        "content-type": "application/octet-stream",
        "etag": f'"{digest}"',
        "cache-control": "private, max-age=31536000, immutable",
        "accept-ranges": "bytes",
    }
    head = carrier.get(digest, "HEAD", Range="bytes=1-2")
    assert (head.status, head.body, head.headers) == (200, b"", answer.headers)
    assert not queries.captured_queries
    assert not carrier.plane._threads._rows._threads  # nor from another thread


def test_it_sends_ranges_and_nothing_that_the_device_has(carrier):
    digest, size = carrier.assignment.parameters.digest, carrier.assignment.parameters.size_bytes
    whole = carrier.get(digest).body
    part = carrier.get(digest, Range="bytes=10-19")
    assert (part.status, part.body) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{size}"
    assert part.headers["content-length"] == "10"
    assert carrier.get(digest, Range="bytes=100-").body == whole[100:]
    assert carrier.get(digest, Range="bytes=5-6", If_Range='"other"').body == whole
    past = carrier.get(digest, Range=f"bytes={size}-")
    assert past.code == (416, "range_not_satisfiable")
    assert past.headers["content-range"] == f"bytes */{size}"
    known = carrier.get(digest, If_None_Match=f'"x", "{digest}"')
    assert (known.status, known.body) == (304, b"")


def test_large_blobs_come_in_pieces_and_stop_with_the_client(carrier):
    with blobs.store().writer() as writer:
        for _ in range(5):
            writer.write(bytes(1 << 20))
        digest = writer.commit()
    carrier.ticket = tickets.issue(
        assignment_id=UUID(int=1), downloads=[digest], upload_bytes=0, now=NOW
    )
    assert carrier.get(digest).body == bytes(5 << 20)
    gone = carrier.ask("GET", f"parameters/{digest}", breaks=True)
    assert len(gone.body) < 5 << 20
    assert not gone.whole


def test_a_proxy_sends_the_file_when_configured(carrier, settings):
    settings.PROPIUS_X_ACCEL_PREFIX = "/internal-blobs"
    digest = carrier.assignment.parameters.digest
    answer = carrier.get(digest, Range="bytes=1-2")  # the proxy's to cut
    assert (answer.status, answer.body) == (200, b"")
    place = f"/internal-blobs/{digest[:2]}/{digest[2:4]}/{digest}"
    assert answer.headers["x-accel-redirect"] == place
    assert "content-length" not in answer.headers
    assert carrier.get("b" * 64).status == 403


def test_a_ticket_opens_its_own_digests_only(carrier):
    assert carrier.get("b" * 64).code == (403, "wrong_ticket")
    assert carrier.get("../settings.py").status == 404
    upload_only = tickets.issue(assignment_id=UUID(int=1), downloads=[], upload_bytes=9, now=NOW)
    carrier.ticket = upload_only
    assert carrier.get(carrier.assignment.parameters.digest).code == (403, "wrong_ticket")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_bad_or_stale_ticket_opens_nothing(carrier, plane, method):
    target = carrier.assignment
    path = f"parameters/{target.parameters.digest}" if method == "GET" else f"updates/{target.id}"
    good, carrier.ticket = carrier.ticket, carrier.ticket[:-4] + "AAAA"
    refused = carrier.ask(method, path)
    assert refused.code == (401, "bad_ticket")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    carrier.ticket = ""
    assert carrier.ask(method, path).code == (401, "bad_ticket")
    carrier.ticket = good
    plane._clock = lambda: NOW + timedelta(seconds=605)
    stale = carrier.ask(method, path)
    assert stale.code == (401, "stale_ticket")
    assert "connect to the gateway again: welcome.resume has a new one" in stale.problem["detail"]


def test_a_blob_that_is_gone_is_the_platforms_fault(carrier):
    digest = carrier.assignment.parameters.digest
    blobs.store().delete(digest, grace_s=-1)
    gone = carrier.get(digest)
    assert gone.code == (503, "blob_missing")
    assert gone.headers["retry-after"] == "1"


def test_other_paths_and_methods_say_what_is_there(carrier):
    assert carrier.ask("GET", "elsewhere/x").code == (404, "not_found")
    wrong = carrier.ask("POST", f"updates/{carrier.assignment.id}")
    assert (wrong.code, wrong.headers["allow"]) == ((405, "method_not_allowed"), "HEAD, PUT")
