"""Updates over HTTP: resumed by offset, durable and counted before the answer."""

import asyncio
import fcntl
import resource
import signal
import threading
from datetime import timedelta
from uuid import UUID

import numpy as np
import pytest
from django.db import connection

import jobs.services
from aggregation import blobs, tickets
from clients import services as client_services
from core import hints, knobs
from jobs import tasks
from jobs.models import Assignment, Round
from propius import arrays, wire
from tenants.scopes import system_scope
from tests.integration.aggregation import worlds
from tests.integration.aggregation.plane import DATA, Client, exchange, incoming, sha256, updates
from tests.integration.factories import NOW

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_update_is_durable_and_counted_before_the_answer(carrier, bound):
    answer = carrier.put(DATA)
    assert answer.status == 200
    assert wire.decode_from_gateway(answer.body) == wire.Accepted(assignment=str(bound[0]))
    (update,) = updates()
    assert (update.assignment_id, update.weight, update.metrics) == (bound[0], 2.5, {"loss": 0.5})
    assert blobs.store().path(update.digest).read_bytes() == DATA
    assert not incoming()


def test_a_repeat_answers_the_same_and_sends_no_byte(carrier):
    first = carrier.put(DATA)
    head = carrier.head(DATA)
    assert (head.headers["upload-complete"], head.headers["upload-offset"]) == (
        "?1", str(len(DATA)),
    )  # fmt: skip
    again = carrier.put(DATA, len(DATA), b"")
    assert (again.status, again.body) == (first.status, first.body)
    whole = carrier.put(DATA)
    assert (whole.status, whole.body, whole.taken) == (first.status, first.body, 0)
    assert len(updates()) == 1


def test_it_resumes_where_the_connection_broke(carrier):
    assert carrier.head(DATA).headers["upload-offset"] == "0"
    assert carrier.put(DATA, 0, DATA[:30], DATA[30:50], breaks=True).status == 0
    head = carrier.head(DATA)
    assert head.status == 200
    assert (head.headers["upload-complete"], head.headers["upload-offset"]) == ("?0", "50")
    assert carrier.put(DATA, 50).status == 200
    assert blobs.store().path(updates()[0].digest).read_bytes() == DATA


def test_it_may_come_in_several_requests(carrier):
    part = carrier.put(DATA, 0, DATA[:50])
    assert (part.status, part.headers["upload-offset"]) == (202, "50")
    assert not updates()
    assert carrier.put(DATA, 50).status == 200


def test_the_next_request_may_come_as_soon_as_a_part_is_acknowledged(carrier):
    plane, locked = carrier.plane, []

    async def watched(scope, receive, send):
        async def told(message):
            if message["type"] == "http.response.start":
                with (blobs.store().incoming / incoming()[0]).open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked.append(message["status"])
            await send(message)

        await plane(scope, receive, told)

    carrier.plane = watched
    assert carrier.put(DATA, 0, DATA[:50]).status == 202
    assert locked == [202]


def test_another_offset_is_refused_with_the_right_one(carrier):
    carrier.put(DATA, 0, DATA[:50])
    for offset in (0, 49, 51):
        refused = carrier.put(DATA, offset)
        assert refused.code == (409, "offset_mismatch")
        assert refused.headers["upload-offset"] == "50"
    assert carrier.put(DATA, 50).status == 200


def test_more_than_allowed_or_announced_is_refused(carrier):
    most = carrier.assignment.max_update_bytes
    large = carrier.put(DATA, headers={"Upload-Length": str(most + 1)})
    assert large.code == (413, "too_large")
    assert str(most) in large.problem["detail"]
    assert carrier.put(DATA, 0, DATA + b"x").code == (413, "too_large")
    announced = carrier.put(DATA, 0, headers={"Content-Length": str(len(DATA) + 1)})
    assert announced.code == (413, "too_large")
    assert not incoming() or incoming() == [f"{carrier.assignment.id}-{sha256(DATA)[:16]}.update"]
    assert carrier.put(DATA).status == 200


def test_a_wrong_digest_leaves_nothing_behind(carrier):
    refused = carrier.put(DATA, 0, bytes(len(DATA)))
    assert refused.code == (422, "digest_mismatch")
    assert not incoming()
    assert not updates()
    assert carrier.put(DATA).status == 200


def test_a_bad_update_never_counts(carrier):
    infinite = worlds.update(np.inf)
    refused = carrier.put(infinite)
    assert refused.code == (422, "not_finite")
    assert "tensors.weight" in refused.problem["errors"]
    assert carrier.put(arrays.save({"other": np.zeros(1, np.float32)})).code == (
        422, "tensor_mismatch",
    )  # fmt: skip
    assert not updates()
    assert not incoming()


def test_a_full_disk_is_told_and_nothing_is_kept(carrier):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, before[1]))
    try:
        refused = carrier.put(DATA, 0, DATA[:30], DATA[30:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert refused.code == (507, "storage_full")
    assert not incoming()
    assert not updates()
    assert carrier.put(DATA).status == 200


def test_a_closed_round_takes_no_update_and_reads_no_byte(carrier, bound, plane):
    with system_scope():
        assignment = Assignment.objects.get(id=bound[0])
        jobs.services.cancel(job_id=assignment.job_id, actor="test", now=NOW)
    late = carrier.put(DATA)
    assert (late.code, late.taken) == ((409, "assignment_over"), 0)
    with system_scope():
        Assignment.objects.filter(id=bound[0]).update(code="round_closed")
    late = carrier.put(DATA)
    assert (late.code, late.taken) == ((409, "round_closed"), 0)
    assert carrier.head(DATA).status == 409
    assert not incoming()


def put_while(carrier, assignment_id, happens):
    """Send an update; when half of it has come, something else happens."""

    def elsewhere():
        happens()
        connection.close()

    def pieces():
        yield DATA[:50]
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        yield DATA[50:]

    headers = {
        "Authorization": f"Bearer {carrier.ticket}", "Upload-Digest": sha256(DATA),
        "Upload-Length": str(len(DATA)), "Update-Weight": "1",
    }  # fmt: skip
    path = f"/data/v1/updates/{assignment_id}"
    return asyncio.run(exchange(carrier.plane, "PUT", path, headers, pieces()))


def test_a_round_that_closes_meanwhile_ends_the_upload(carrier, bound):
    others = [Client(carrier.plane, one) for one in bound[1:]]

    def close():
        with system_scope():
            round_ = Round.objects.get(id=others[0].assignment.round)
            Round.objects.filter(id=round_.id).update(demand=len(bound) - 1)
        for other in others:
            assert other.put(DATA).status == 200

    answer = put_while(carrier, bound[0], close)
    assert answer.code == (409, "round_closed")
    assert len(updates()) == len(others)


def revoke(assignment_id):
    with system_scope():
        device_id = Assignment.objects.get(id=assignment_id).device_id
        client_services.revoke_device(device_id=device_id, actor="test", now=NOW)
    return device_id


def test_nothing_counts_of_a_device_that_was_revoked_and_its_slot_comes_back(carrier, bound):
    assert carrier.put(DATA, 0, DATA[:50]).status == 202
    device_id = revoke(bound[0])
    late = carrier.put(DATA, 50)
    assert (late.code, late.taken) == ((409, "assignment_over"), 0)
    assert "revoked" in late.problem["detail"]
    with system_scope():
        round_ = Assignment.objects.get(id=bound[0]).round
        # What revoking has asked a worker for.
        assert hints.is_asked("jobs.withdraw", str(device_id))
        tasks.withdraw(str(device_id))
        held = Assignment.objects.get(id=bound[0])
        assert (held.status, held.code) == ("cancelled", "device_revoked")
        assert (held.round.assigned, held.round.lost) == (round_.assigned - 1, round_.lost + 1)
    assert carrier.put(DATA, 50).code == (409, "assignment_over")
    assert not updates()


def test_a_device_that_is_revoked_while_it_sends_is_not_counted(carrier, bound):
    answer = put_while(carrier, bound[0], lambda: revoke(bound[0]))
    assert answer.code == (409, "assignment_over")
    assert not updates()


def test_a_ticket_is_for_one_assignment_and_direction(carrier, bound):
    assert carrier.put(DATA, to=str(bound[1])).code == (403, "wrong_ticket")
    carrier.ticket = tickets.issue(
        assignment_id=bound[0], downloads=[sha256(DATA)], upload_bytes=0, now=NOW
    )
    refused = carrier.put(DATA)
    assert refused.code == (403, "wrong_ticket")
    assert refused.problem["errors"] == {"direction": "upload; the ticket opens downloads only"}
    carrier.ticket = tickets.issue(
        assignment_id=UUID(int=5), downloads=[], upload_bytes=9999, now=NOW
    )
    assert carrier.put(DATA, to=str(UUID(int=5))).code == (404, "stale_assignment")


def test_headers_out_of_range_are_named(carrier):
    for name, value in (
        ("Upload-Digest", "x"), ("Upload-Length", "-1"), ("Upload-Length", "many"),
        ("Upload-Offset", "1.5"), ("Update-Weight", "0"), ("Update-Weight", "nan"),
        ("Update-Metrics", "{"), ("Update-Metrics", '{"loss": "low"}'),
    ):  # fmt: skip
        refused = carrier.put(DATA, headers={name: value})
        assert refused.status in (400, 422), value
        assert name.lower().split("-")[1] in refused.problem["detail"].lower()
    assert not incoming()


def test_an_upload_that_moves_keeps_its_lease_and_one_that_stalls_is_let_go(
    carrier, bound, monkeypatch
):
    monkeypatch.setenv("PROPIUS_LEASE_S", "0.3")
    knobs.get.cache_clear()
    carrier.put(DATA, 0, DATA[:30], DATA[30:50], pause_s=0.15)
    with system_scope():
        held = Assignment.objects.get(id=bound[0])
    assert held.phase == "uploading"
    assert held.lease_expires_at == NOW + timedelta(seconds=0.3)
    stalled = carrier.put(DATA, 50, pause_s=1.0)
    assert stalled.code == (408, "upload_stalled")


def test_an_upload_that_drips_is_let_go_and_goes_on_by_offset(carrier, monkeypatch):
    monkeypatch.setenv("PROPIUS_REQUEST_BODY_S", "0.2")
    knobs.get.cache_clear()
    drops = [DATA[at : at + 1] for at in range(50)]
    slow = carrier.put(DATA, 0, *drops, pause_s=0.08)
    assert slow.code == (408, "upload_stalled")
    assert 1 <= slow.taken < 50
    at = int(carrier.head(DATA).headers["upload-offset"])
    assert at == slow.taken
    assert carrier.put(DATA, at).status == 200


def test_one_assignment_has_few_transfers_at_once(carrier):
    async def crowd():
        headers = {"Authorization": f"Bearer {carrier.ticket}"}
        path = f"/data/v1/parameters/{carrier.assignment.parameters.digest}"
        return await asyncio.gather(
            *(exchange(carrier.plane, "GET", path, headers) for _ in range(6))
        )

    answers = asyncio.run(crowd())
    assert sorted(one.status for one in answers) == [200] * 4 + [429] * 2
    assert carrier.get(carrier.assignment.parameters.digest).status == 200
