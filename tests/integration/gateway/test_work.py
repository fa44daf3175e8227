"""Assignments from check-in to accepted, and what is refused on the way."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import resource
import signal
from collections.abc import Callable
from uuid import UUID

import numpy
import pytest
import safetensors.numpy
from django.utils import timezone

from aggregation import blobs, incoming, under_way
from aggregation.models import Update
from aggregation.under_way import Told
from gateway import uploads
from jobs import services as job_services
from jobs.models import Assignment
from propius import wire
from tests.integration.gateway.sockets import FakeDevice, Socket
from tests.integration.gateway.world import ONES, ZEROS, digest_of, rows


async def download(socket: Socket, assignment: wire.Assignment, *, credit: int = 10_000) -> bytes:
    socket.send(
        wire.Download(
            assignment=assignment.id,
            transfer=1,
            digest=assignment.parameters.digest,
            credit=credit,
        )
    )
    data = b""
    while len(data) < assignment.parameters.size_bytes:
        transfer, offset, payload = wire.unpack_chunk(await socket.receive())
        assert (transfer, offset) == (1, len(data))
        data += payload
        socket.send(wire.Credit(transfer=1, size_bytes=len(payload)))
    return data


def announce(socket: Socket, assignment: str, data: bytes, **changes) -> None:
    fields = {
        "assignment": assignment,
        "transfer": 2,
        "digest": digest_of(data),
        "size_bytes": len(data),
        "weight": 5.0,
        "metrics": {"loss": 0.5},
    }
    socket.send(wire.Upload(**(fields | changes)))


async def upload(socket: Socket, assignment: str, data: bytes, **changes):
    """Send an update whole; return the gateway's word on it."""
    announce(socket, assignment, data, **changes)
    ready = await socket.expect(wire.UploadReady)
    socket.bytes(wire.pack_chunk(2, ready.offset, data[ready.offset :]))
    while isinstance(got := await socket.receive(), wire.Credit):
        pass
    return got


async def refused(socket: Socket, code: str, *, fatal: bool = False) -> wire.Refused:
    got = await socket.receive()
    assert isinstance(got, wire.Refused), got
    assert (got.code, got.fatal) == (code, fatal), got
    if fatal:
        assert await socket.closed() in (1002, 1008)
    return got


async def status_of(world, identifier: str, *, until: str) -> Assignment:
    for _ in range(1_000):
        row = await rows(lambda: world.assignment(identifier))
        if row.status == until:
            return row
        await asyncio.sleep(0.02)
    raise AssertionError(f"{identifier} is {row.status} {row.code}, not {until}")


async def test_a_device_binds_downloads_uploads_and_is_accepted(world):
    job = await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    assert assignment.job == str(job.id)
    assert assignment.kind == "train"
    assert assignment.ticket.count(".") == 1
    assert 10 < assignment.deadline_s <= 30
    assert await download(socket, assignment) == ZEROS
    socket.send(wire.Progress(assignment=assignment.id, phase="training", fraction=0.5))
    assert await upload(socket, assignment.id, ONES) == wire.Accepted(assignment=assignment.id)
    update = await rows(lambda: Update.objects.get(assignment_id=assignment.id))
    assert (update.weight, update.metrics, update.digest) == (5.0, {"loss": 0.5}, digest_of(ONES))
    assert (await rows(lambda: blobs.store().path(update.digest).read_bytes())) == ONES
    row = await rows(lambda: world.assignment(assignment.id))
    assert row.status == "reported"
    assert row.accepted_at is not None
    socket.send(wire.CheckIn())
    assert isinstance(await socket.receive(), wire.Idle)  # it has had its part in this round
    await socket.drop()


async def test_the_row_is_committed_before_the_device_hears_of_it(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.assigned()
    row = await rows(lambda: world.assignment(assignment.id))
    assert (row.status, str(row.device_id), row.accepted_at) == ("bound", device.id, None)
    await socket.drop()


async def test_an_idle_device_is_pushed_an_assignment_when_demand_opens(world):
    device = await rows(world.device)
    socket, _ = await device.connect()
    socket.send(wire.CheckIn())
    await socket.expect(wire.Idle)
    await asyncio.sleep(1.2)  # so that the planner knows its profile
    await rows(world.job)
    await socket.expect(wire.Assignment)
    await socket.drop()


async def test_no_more_devices_are_bound_than_the_round_takes(world):
    job = await rows(world.job)
    devices = await rows(lambda: [world.device() for _ in range(20)])
    sockets = [(await device.connect())[0] for device in devices]
    for socket in sockets:
        socket.send(wire.CheckIn())
    target = (await rows(lambda: world.round(job))).target
    bound: set[int] = set()
    while len(bound) < target:
        await asyncio.sleep(0.05)
        for number, socket in enumerate(sockets):
            while not socket.silent():
                if isinstance(await socket.receive(), wire.Assignment):
                    bound.add(number)
    await asyncio.sleep(1.2)
    later = [socket for number, socket in enumerate(sockets) if number not in bound]
    assert all(socket.silent() for socket in later)
    row = await rows(lambda: world.round(job))
    assert row.assigned == row.target == len(bound)
    await asyncio.gather(*(socket.drop() for socket in sockets))


async def test_a_declined_slot_goes_to_the_next_idle_device(world):
    await rows(lambda: world.job(rounds__demand=5, rounds__over_selection=1.0))
    devices = await rows(lambda: [world.device() for _ in range(6)])
    bound = [await device.assigned() for device in devices[:5]]
    last, _ = await devices[5].connect()
    last.send(wire.CheckIn())
    await last.expect(wire.Idle)
    socket, assignment = bound[0]
    socket.send(wire.Decline(assignment=assignment.id, code="consent", message="not this one"))
    row = await status_of(world, assignment.id, until="declined")
    assert (row.code, row.message) == ("consent", "not this one")
    await rows(world.plan)
    await last.expect(wire.Assignment)
    for one in [last, *(socket for socket, _ in bound)]:
        await one.drop()


async def test_private_constraints_are_offered_and_the_first_choice_bound(world):
    job = await rows(lambda: world.job(constraints__private={"classes": {"min": 3}}))
    device = await rows(world.device)
    socket, _ = await device.connect()
    socket.send(wire.CheckIn())
    while isinstance(offer := await socket.receive(), wire.Idle):
        pass
    (candidate,) = offer.candidates
    assert candidate.constraints == {"classes": {"min": 3.0}}
    assert candidate.job == str(job.id)
    socket.send(wire.Choose(offer=offer.offer, ranked=[candidate.round]))
    assert (await socket.expect(wire.Assignment)).round == candidate.round
    await socket.drop()


async def test_a_device_that_turns_every_offer_down_idles(world):
    await rows(lambda: world.job(constraints__private={"classes": 3}))
    device = await rows(world.device)
    socket, _ = await device.connect()
    socket.send(wire.CheckIn())
    while isinstance(offer := await socket.receive(), wire.Idle):
        pass
    refusals = {offer.candidates[0].round: "private_constraint"}
    socket.send(wire.Choose(offer=offer.offer, ranked=[], refused=refusals))
    await socket.expect(wire.Idle)
    await rows(world.plan)
    await asyncio.sleep(1.2)
    assert socket.silent()
    await socket.drop()


async def test_a_broken_connection_resumes_the_same_assignment_and_upload(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    announce(socket, assignment.id, ONES)
    await socket.expect(wire.UploadReady)
    socket.bytes(wire.pack_chunk(2, 0, ONES[:40]))
    while (await rows(lambda: _incoming(assignment.id))) < 40:
        await asyncio.sleep(0.01)
    await socket.drop()
    socket, welcome = await device.connect()
    assert welcome.resume.id == assignment.id
    socket.send(wire.Accept(assignment=assignment.id))
    announce(socket, assignment.id, ONES)
    ready = await socket.expect(wire.UploadReady)
    assert ready.offset == 40
    socket.bytes(wire.pack_chunk(2, 40, ONES[40:]))
    assert isinstance(await socket.receive(), wire.Accepted)
    await socket.drop()


def _incoming(assignment: str) -> int:
    sizes = [path.stat().st_size for path in blobs.store().incoming.glob(f"{assignment}*")]
    return max(sizes, default=0)


async def test_a_result_whose_answer_was_lost_is_accepted_again_and_counted_once(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    assert isinstance(await upload(socket, assignment.id, ONES), wire.Accepted)
    await socket.drop()
    socket, welcome = await device.connect()
    assert welcome.resume is None
    announce(socket, assignment.id, ONES)
    assert await socket.receive() == wire.Accepted(assignment=assignment.id)
    assert await rows(lambda: Update.objects.filter(assignment_id=assignment.id).count()) == 1
    await socket.drop()


@pytest.mark.parametrize(
    ("tensors", "code", "field"),
    [
        ({"weight": numpy.full((2, 2), numpy.nan, "f4")}, "not_finite", "tensors.weight"),
        ({"weight": numpy.zeros((2, 3), "f4")}, "tensor_mismatch", "tensors.weight"),
        ({"weight": numpy.zeros((2, 2), "f8")}, "tensor_mismatch", "tensors.weight"),
        ({"bias": numpy.zeros((2, 2), "f4")}, "tensor_mismatch", "tensors.weight"),
        (None, "not_safetensors", "header"),
    ],
)
async def test_a_bad_update_is_refused_by_field_and_its_slot_given_back(
    world, tensors, code, field
):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    data = bytes(8) if tensors is None else safetensors.numpy.save(tensors)
    got = await upload(socket, assignment.id, data)
    assert (got.code, got.assignment, list(got.errors)) == (code, assignment.id, [field])
    assert (await status_of(world, assignment.id, until="failed")).code == code
    assert await rows(lambda: Update.objects.count()) == 0
    assert _incoming(assignment.id) == 0
    assert not any(hashlib.sha256(data).hexdigest() == one for one in blobs.store().digests())
    socket.send(wire.CheckIn())
    assert isinstance(await socket.receive(), wire.Idle)
    await socket.drop()


async def test_an_update_with_another_digest_is_asked_for_once_more_and_then_refused(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    got = await upload(socket, assignment.id, ONES, digest="0" * 64)
    assert (type(got), got.code) == (wire.Retry, "digest_mismatch")
    assert await socket.closed() == 1013
    assert (await status_of(world, assignment.id, until="bound")).code == ""
    socket = await again(device, assignment)
    got = await upload(socket, assignment.id, ONES, digest="0" * 64)
    assert (got.code, list(got.errors)) == ("digest_mismatch", ["digest"])
    await status_of(world, assignment.id, until="failed")
    await socket.drop()


async def test_bytes_that_were_damaged_on_the_way_come_whole_the_second_time(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    announce(socket, assignment.id, ONES)
    await socket.expect(wire.UploadReady)
    socket.bytes(wire.pack_chunk(2, 0, ONES[:-1] + b"@"))
    while isinstance(got := await socket.receive(), wire.Credit):
        pass
    assert (type(got), got.code) == (wire.Retry, "digest_mismatch")
    socket = await again(device, assignment)
    assert await upload(socket, assignment.id, ONES) == wire.Accepted(assignment=assignment.id)
    await socket.drop()


async def again(device, assignment):
    """Come back with what is held; returns the socket."""
    socket, welcome = await device.connect()
    assert welcome.resume.id == assignment.id
    socket.send(wire.Accept(assignment=assignment.id))
    return socket


async def test_an_update_that_another_connection_sends_is_asked_for_again(world, monkeypatch):
    monkeypatch.setattr(uploads, "BUSY_TRIES", 1)
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    digest = hashlib.sha256(ONES).hexdigest()
    with incoming.path(blobs.store(), UUID(assignment.id), digest).open("xb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        announce(socket, assignment.id, ONES)
        got = await socket.receive()
    assert (type(got), got.code) == (wire.Retry, "upload_busy")
    socket = await again(device, assignment)
    assert await upload(socket, assignment.id, ONES) == wire.Accepted(assignment=assignment.id)
    await socket.drop()


async def test_an_oversize_update_is_refused_before_it_is_sent(world):
    await rows(lambda: world.job(max_update_bytes=1000))
    device = await rows(world.device)
    socket, assignment = await device.working()
    announce(socket, assignment.id, ONES, size_bytes=1001)
    assert "at most 1000" in (await refused(socket, "too_large")).message
    await status_of(world, assignment.id, until="failed")
    await socket.drop()


async def test_bytes_past_the_announced_size_are_refused(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    announce(socket, assignment.id, ONES)
    await socket.expect(wire.UploadReady)
    socket.bytes(wire.pack_chunk(2, 0, ONES + b"more"))
    await refused(socket, "too_large")
    await status_of(world, assignment.id, until="failed")
    assert _incoming(assignment.id) == 0
    await socket.drop()


@pytest.mark.parametrize("offset", [0, 60], ids=["duplicated", "reordered"])
async def test_a_chunk_out_of_its_turn_is_refused_and_nothing_is_kept(world, offset):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    announce(socket, assignment.id, ONES)
    await socket.expect(wire.UploadReady)
    for begin in (0, offset):
        socket.bytes(wire.pack_chunk(2, begin, ONES[begin : begin + 30]))
    while isinstance(got := await socket.receive(), wire.Credit):
        pass
    assert (got.code, got.assignment) == ("offset_mismatch", assignment.id)
    assert "30 is expected" in got.message
    await status_of(world, assignment.id, until="failed")
    assert _incoming(assignment.id) == 0
    await socket.drop()


@pytest.mark.parametrize("kept", [10, wire.CHUNK_HEADER.size], ids=["header", "no_payload"])
async def test_a_truncated_chunk_ends_the_session_and_the_update_goes_on_from_what_was_whole(
    world, kept
):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    announce(socket, assignment.id, ONES)
    await socket.expect(wire.UploadReady)
    socket.bytes(wire.pack_chunk(2, 0, ONES[:30]))
    while (await rows(lambda: _incoming(assignment.id))) < 30:
        await asyncio.sleep(0.01)
    socket.bytes(wire.pack_chunk(2, 30, ONES[30:])[:kept])
    while isinstance(got := await socket.receive(), wire.Credit):
        pass
    assert (got.code, got.fatal) == ("bad_frame", True)
    assert f"chunk frame of {kept} bytes has no payload" in got.message
    socket, welcome = await device.connect()
    assert welcome.resume.id == assignment.id
    socket.send(wire.Accept(assignment=assignment.id))
    announce(socket, assignment.id, ONES)
    assert (await socket.expect(wire.UploadReady)).offset == 30
    socket.bytes(wire.pack_chunk(2, 30, ONES[30:]))
    while isinstance(got := await socket.receive(), wire.Credit):
        pass
    assert got == wire.Accepted(assignment=assignment.id)
    await socket.drop()


async def test_an_update_for_a_round_that_has_closed_is_refused_and_leaves_no_row(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    await status_of(world, assignment.id, until="bound")
    announce(socket, assignment.id, ONES)
    await socket.expect(wire.UploadReady)
    # As its close does; the word of it to this gateway is lost.
    over = {"status": "cancelled", "code": "round_closed", "ended_at": timezone.now()}
    await rows(lambda: Assignment.objects.filter(id=assignment.id).update(**over))
    socket.bytes(wire.pack_chunk(2, 0, ONES))
    while isinstance(got := await socket.receive(), wire.Credit):
        pass
    assert (got.code, got.assignment, got.fatal) == ("round_closed", assignment.id, False)
    assert await rows(lambda: Update.objects.count()) == 0
    assert _incoming(assignment.id) == 0
    socket.send(wire.CheckIn())
    await socket.expect(wire.Idle)
    await socket.drop()


async def test_a_full_disk_is_told_before_the_acknowledgement_and_the_device_comes_again(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40, before[1]))
    try:
        got = await upload(socket, assignment.id, ONES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (type(got), got.code) == (wire.Retry, "storage_full")
    assert _incoming(assignment.id) == 0
    assert await rows(lambda: Update.objects.count()) == 0
    assert (await status_of(world, assignment.id, until="bound")).code == ""
    socket = await again(device, assignment)
    assert await upload(socket, assignment.id, ONES) == wire.Accepted(assignment=assignment.id)
    await socket.drop()


async def test_work_before_the_accept_is_out_of_order(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.assigned()
    announce(socket, assignment.id, ONES)
    await refused(socket, "out_of_order", fatal=True)


async def test_another_devices_assignment_is_stale_and_stays_untouched(world):
    await rows(world.job)
    owner, thief = await rows(world.device), await rows(world.device)
    first, assignment = await owner.working()
    second, _ = await thief.connect()
    for message in (
        wire.Accept(assignment=assignment.id),
        wire.Decline(assignment=assignment.id, code="x"),
        wire.Progress(assignment=assignment.id, phase="training"),
        wire.Download(assignment=assignment.id, transfer=1, digest=assignment.parameters.digest),
        wire.Report(assignment=assignment.id, weight=1, metrics={}),
    ):
        second.send(message)
        assert (await refused(second, "stale_assignment")).assignment == assignment.id
    announce(second, assignment.id, ONES)
    await refused(second, "stale_assignment")
    announce(second, "no-uuid", ONES)
    await refused(second, "stale_assignment")
    assert isinstance(await upload(first, assignment.id, ONES), wire.Accepted)
    await first.drop()
    await second.drop()


async def test_only_blobs_of_the_assignment_can_be_fetched(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    with_other = await rows(lambda: _stored(b"another tenant's"))
    socket.send(wire.Download(assignment=assignment.id, transfer=1, digest=with_other))
    assert (
        assignment.parameters.digest
        in (await refused(socket, "digest_unknown", fatal=True)).message
    )


def _stored(data: bytes) -> str:
    with blobs.store().writer() as writer:
        writer.write(data)
        return writer.commit()


async def test_a_download_waits_for_credit_and_resumes_by_offset(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    ask = wire.Download(
        assignment=assignment.id,
        transfer=1,
        digest=assignment.parameters.digest,
        offset=10,
        credit=7,
    )
    socket.send(ask)
    assert wire.unpack_chunk(await socket.receive())[1:] == (10, ZEROS[10:17])
    await asyncio.sleep(0.05)
    assert socket.silent()
    socket.send(wire.Credit(transfer=1, size_bytes=3))
    assert wire.unpack_chunk(await socket.receive())[1:] == (17, ZEROS[17:20])
    socket.send(ask)
    assert (await refused(socket, "transfer_in_use", fatal=True)).assignment is None


async def told_of(assignment: str, wanted: Callable[[Told | None], bool]) -> Told | None:
    """Wait until what pages are told of an assignment's transfer is as ``wanted``."""
    identifier = UUID(assignment)
    async with asyncio.timeout(20):
        while not wanted(found := (await rows(lambda: under_way.of([identifier]))).get(identifier)):
            await asyncio.sleep(0.02)
    return found


async def test_pages_are_told_how_far_a_download_and_an_upload_are(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    size = assignment.parameters.size_bytes
    ask = {"assignment": assignment.id, "digest": assignment.parameters.digest}
    socket.send(wire.Download(transfer=1, offset=10, credit=7, **ask))
    await socket.receive()
    found = await told_of(assignment.id, lambda told: told is not None and told.done_bytes == 17)
    assert (found.direction, found.size_bytes) == ("down", size)
    socket.send(wire.Credit(transfer=1, size_bytes=size))
    await socket.receive()
    announce(socket, assignment.id, ONES)
    await socket.expect(wire.UploadReady)
    socket.bytes(wire.pack_chunk(2, 0, ONES[:40]))
    found = await told_of(assignment.id, lambda told: told is not None and told.done_bytes == 40)
    assert (found.direction, found.size_bytes) == ("up", len(ONES))
    await socket.drop()
    await told_of(assignment.id, lambda told: told is None)


async def test_a_cancelled_job_reaches_its_devices_at_once(world):
    job = await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    await rows(lambda: job_services.cancel(job_id=job.id, actor="owner", now=timezone.now()))
    got = await socket.expect(wire.Cancelled)
    assert got.assignment == assignment.id
    socket.send(wire.CheckIn())
    await socket.expect(wire.Idle)
    await socket.drop()


async def test_a_lease_that_ended_unheard_is_told_at_the_next_progress(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    await status_of(world, assignment.id, until="bound")
    over = {"status": "expired", "ended_at": timezone.now()}
    await rows(lambda: Assignment.objects.filter(id=assignment.id).update(**over))
    socket.send(wire.Progress(assignment=assignment.id, phase="training"))
    assert (await socket.expect(wire.Cancelled)).code == "assignment_over"
    await socket.drop()


async def test_progress_is_told_by_the_row(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    socket.send(wire.Progress(assignment=assignment.id, phase="training", fraction=0.25))
    async with asyncio.timeout(20):
        while not (row := await rows(lambda: world.assignment(assignment.id))).phase:
            await asyncio.sleep(0.03)
    assert (row.phase, row.fraction) == ("training", 0.25)
    await socket.drop()


async def test_leaving_gives_the_slot_back_at_once(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    socket.send(wire.Leave(code="low_battery"))
    assert await socket.closed() == 1000
    assert (await status_of(world, assignment.id, until="failed")).code == "low_battery"


async def test_a_late_result_of_a_closed_round_is_refused(world):
    job = await rows(world.job)
    device: FakeDevice = await rows(world.device)
    socket, assignment = await device.working()
    await socket.drop()
    await rows(lambda: job_services.cancel(job_id=job.id, actor="owner", now=timezone.now()))
    socket, welcome = await device.connect()
    assert welcome.resume is None
    announce(socket, assignment.id, ONES)
    await refused(socket, "stale_assignment")
    await socket.drop()
