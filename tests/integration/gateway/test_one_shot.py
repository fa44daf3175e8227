"""One-shot mode: the same rules over plain HTTP, and what was said once cannot be said again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from typing import Any

import msgspec
from django.utils import timezone

from clients import services as client_services
from clients.models import Device
from gateway import nonces
from jobs.models import Assignment
from propius import wire
from tests.integration.gateway.sockets import FakeDevice
from tests.integration.gateway.world import rows


class Visitor:
    """A device that speaks HTTP."""

    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.nonce = ""

    async def request(
        self, method: str, body: bytes = b"", *, nonce: str = "", path: str = "/device/v1"
    ) -> tuple[int, dict[str, str], list[Any]]:
        to: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        to.put_nowait({"type": "http.request", "body": body, "more_body": False})
        said: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        headers = [(b"propius-nonce", nonce.encode())] if nonce else []
        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        await self.device.application(scope, to.get, send)
        answer = {name.decode(): value.decode() for name, value in said[0]["headers"]}
        lines = said[1]["body"].splitlines()
        if answer["content-type"] != "application/x-ndjson":
            return said[0]["status"], answer, lines
        messages = [wire.decode_from_gateway(line) for line in lines]
        if messages and isinstance(messages[-1], wire.Challenge):
            self.nonce = messages.pop().nonce
        return said[0]["status"], answer, messages

    def body(self, *words: wire.Message, **changes: Any) -> bytes:
        said = "\n".join(map(wire.encode, words)).encode()
        signed = f"{self.nonce} {hashlib.sha256(said).hexdigest()}"
        hello = self.device.hello(wire.Challenge(nonce=signed, protocols=[1]), **changes)
        return wire.encode(hello).encode() + (b"\n" + said if words else b"")

    async def say(self, *words: wire.Message, **changes: Any) -> list[Any]:
        """Visit with these words; return what came after the welcome."""
        status, _, messages = await self.visit(*words, **changes)
        assert status == 200, messages
        assert isinstance(messages[0], wire.Welcome), messages
        return messages[1:]

    async def visit(self, *words: wire.Message, **changes: Any):
        if not self.nonce:
            await self.request("GET")
        return await self.request("POST", self.body(*words, **changes), nonce=self.nonce)

    async def assigned(self) -> wire.Assignment:
        while True:
            (got,) = await self.say(wire.CheckIn())
            if isinstance(got, wire.Assignment):
                return got
            await asyncio.sleep(0.1)


async def visitor(world: Any) -> Visitor:
    return Visitor(await rows(world.device))


async def test_a_round_in_visits_from_check_in_to_report(world):
    await rows(world.job)
    one = await visitor(world)
    held = await one.assigned()
    assert held.ticket
    assert await one.say(wire.Accept(assignment=held.id)) == []
    row = await rows(lambda: world.assignment(held.id))
    assert row.accepted_at is not None
    before = row.lease_expires_at
    assert await one.say(wire.Progress(assignment=held.id, phase="training", fraction=0.5)) == []
    status, _, (welcome,) = await one.visit()
    assert status == 200
    assert welcome.resume.id == held.id
    until = time.monotonic() + 60
    while (await rows(lambda: world.assignment(held.id))).lease_expires_at <= before:
        assert time.monotonic() < until, "progress did not renew the lease"
        await asyncio.sleep(0.05)
    assert await one.say(wire.Fail(assignment=held.id, code="training_failed")) == []
    row = await rows(lambda: world.assignment(held.id))
    assert row.status == Assignment.Status.FAILED


async def test_nothing_to_do_is_answered_by_when_to_come_back(world):
    one = await visitor(world)
    status, headers, messages = await one.visit(wire.CheckIn())
    assert status == 200
    assert messages[-1].code == "idle"
    assert 48 <= messages[-1].after_s <= 72
    assert 48 <= int(headers["retry-after"]) <= 72


async def test_an_offer_is_answered_in_the_next_visit(world):
    constraints = {"private": {"examples": {"min": 10}}}
    await rows(lambda: world.job(constraints=constraints))
    one = await visitor(world)
    while not isinstance((got := (await one.say(wire.CheckIn()))[0]), wire.Offer):
        await asyncio.sleep(0.1)
    rounds = [candidate.round for candidate in got.candidates]
    (held,) = await one.say(wire.Choose(offer=got.offer, ranked=rounds))
    assert isinstance(held, wire.Assignment)
    assert held.round in rounds


async def test_a_round_that_was_not_offered_cannot_be_chosen(world):
    constraints = {"private": {"examples": {"min": 10}}}
    await rows(lambda: world.job(constraints=constraints))
    one = await visitor(world)
    while not isinstance((got := (await one.say(wire.CheckIn()))[0]), wire.Offer):
        await asyncio.sleep(0.1)
    stranger = "01234567-89ab-7def-8123-456789abcdef"
    _, _, messages = await one.visit(wire.Choose(offer=got.offer, ranked=[stranger]))
    assert messages[-1].code == "out_of_order"


async def test_a_choice_that_comes_too_late_is_told_to_come_back(world):
    one = await visitor(world)
    status, _, messages = await one.visit(wire.Choose(offer="gone", ranked=["r"]))
    assert status == 200
    assert isinstance(messages[-1], wire.Retry)


async def test_so_is_one_whose_software_is_too_old(world):
    await rows(
        lambda: client_services.require_sdk(
            pool_id=None, name="test", minimum="2", percent=100, grace_days=7.0, reason="a hole",
            author="op", now=timezone.now(),
        )
    )  # fmt: skip
    one = await visitor(world)
    _, _, messages = await one.visit(wire.Choose(offer="gone", ranked=["r"]))
    assert [type(each) for each in messages] == [wire.Welcome, wire.Refused, wire.Retry]
    assert messages[1].code == "upgrade_needed"


async def test_what_was_said_once_cannot_be_said_again(world):
    one = await visitor(world)
    await one.request("GET")
    nonce, body = one.nonce, one.body(wire.Leave())
    assert (await one.request("POST", body, nonce=nonce))[0] == 200
    status, _, (refused,) = await one.request("POST", body, nonce=nonce)
    assert status == 409
    assert refused.code == "stale_nonce"
    assert "used before" in refused.message


async def test_words_that_were_not_signed_are_refused(world):
    one = await visitor(world)
    await one.request("GET")
    body = one.body(wire.CheckIn()).replace(b"check_in", b"leave")
    status, _, (refused,) = await one.request("POST", body, nonce=one.nonce)
    assert (status, refused.code) == (401, "bad_signature")


async def test_nonces_that_ended_or_are_made_up_are_refused(world):
    one = await visitor(world)
    for bad in ("", "ab" * 32, "no hex", nonces.issue(time.time() - nonces.LIFE_S - 1)):
        one.nonce = bad
        status, _, (refused,) = await one.request("POST", one.body(), nonce=bad)
        assert (status, refused.code) == (409, "stale_nonce")
        assert one.nonce != bad  # the answer has a good one
    assert (await one.visit())[0] == 200


async def test_a_visit_ends_an_older_session_and_a_revoked_device_has_none(world):
    one = await visitor(world)
    socket, _ = await one.device.connect()
    assert await one.say() == []
    assert (await socket.expect(wire.Refused)).code == "session_replaced"
    row = await rows(lambda: Device.objects.get(id=one.device.id))
    await rows(
        lambda: client_services.revoke_device(device_id=row.id, actor="op", now=timezone.now())
    )
    status, _, (refused,) = await one.visit(wire.CheckIn())
    assert (status, refused.code) == (403, "device_revoked")


async def test_malformed_bodies_are_answered_in_words(world):
    one = await visitor(world)
    await one.request("GET")
    bodies = {
        b"no json": "bad_frame",
        b'{"type":"check_in"}': "out_of_order",
        b"\xff\xfe": "bad_frame",
        b"x" * 200_000: "too_long",
        b"\n" * 40: "too_long",
        msgspec.json.encode({"type": "hello", "protocol": 9, "new": 1}): "protocol_unsupported",
    }
    for body, code in bodies.items():
        status, _, messages = await one.request("POST", body, nonce=one.nonce)
        assert status in (400, 413), code
        assert (messages[0].code, bool(messages[0].message)) == (code, True)
    assert (await one.request("DELETE"))[0] == 405
    assert (await one.request("GET", path="/elsewhere"))[0] == 404


async def test_bytes_do_not_go_by_visits(world):
    await rows(world.job)
    one = await visitor(world)
    held = await one.assigned()
    order = wire.Download(assignment=held.id, transfer=1, digest=held.parameters.digest)
    status, _, messages = await one.visit(order)
    assert status == 400
    assert "data plane" in messages[-1].message
    assert (await one.visit())[2][0].resume.id == held.id  # it stays the device's


async def test_a_device_that_comes_all_the_time_is_sent_away(world, monkeypatch):
    monkeypatch.setattr("gateway.front.VISITS_BURST", 2.0)
    one = await visitor(world)
    found = [(await one.visit())[0] for _ in range(4)]
    assert found[:2] == [200, 200]
    assert found[-1] == 429


async def test_an_evaluation_is_reported_in_a_visit(world):
    unknown = "01234567-89ab-7def-8123-456789abcdef"
    one = await visitor(world)
    (refused,) = await one.say(wire.Report(assignment=unknown, weight=1.0, metrics={}))
    assert (refused.code, refused.fatal) == ("stale_assignment", False)
    assert json.loads(wire.encode(refused))["assignment"] == unknown
