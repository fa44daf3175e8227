"""Hello: who may connect, and what those hear who may not."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from django.utils import timezone

from clients import services as client_services
from clients.models import Device
from gateway.consumer import Connection
from propius import wire
from scheduling.binding import Groups
from tests.integration.gateway.sockets import Socket
from tests.integration.gateway.world import rows


async def test_a_device_is_challenged_and_welcomed(world):
    device = await rows(world.device)
    socket, welcome = await device.connect()
    assert welcome.resume is None
    assert welcome.ping_s == 20
    socket.send(wire.Ping())
    await socket.expect(wire.Pong)
    row = await rows(lambda: Device.objects.get(id=device.id))
    assert row.attributes == {"cpu_score": 3}
    assert row.connected_at is not None
    await socket.drop()


async def test_while_a_device_signs_in_the_others_hear_of_new_constraint_groups(world, gateway):
    device = await rows(world.device)
    half = Connection(gateway.hub, None, None)
    half.device = (await rows(world.device)).id  # its rows are being read
    gateway.hub.registry.enter(half)
    socket, _ = await device.connect()
    socket.send(wire.CheckIn())
    await socket.expect(wire.Idle)
    await rows(world.job)
    while isinstance(got := await socket.receive(), wire.Idle):
        pass
    assert isinstance(got, wire.Assignment)
    gateway.hub.registry.leave(half)
    await socket.drop()


async def test_an_idle_device_meets_groups_that_another_was_the_first_to_hear_of(
    world, gateway, monkeypatch
):
    async def lost(notice):
        """A plan that nobody here heard of."""

    waiting, _ = await (await rows(world.device)).connect()
    waiting.send(wire.CheckIn())
    await waiting.expect(wire.Idle)
    with monkeypatch.context() as patch:
        patch.setattr(gateway.hub, "planned", lost)
        await rows(lambda: world.job(rounds__demand=5))
        asking, _ = await (await rows(world.device)).connect()
        asking.send(wire.CheckIn())
        while isinstance(got := await asking.receive(), wire.Idle):
            asking.send(wire.CheckIn())  # until its signature is found to be of old groups
        assert isinstance(got, wire.Assignment)
    while isinstance(got := await waiting.receive(), wire.Idle):
        pass
    assert isinstance(got, wire.Assignment)
    await asking.drop()
    await waiting.drop()


async def test_a_connection_that_has_closed_is_signed_no_more(world, gateway):
    device = await rows(world.device)
    socket, _ = await device.connect()
    one = gateway.hub.registry.devices[device.id]
    await socket.drop()
    gateway.hub.register_all()  # forgets profiles that nobody present has
    gateway.hub.signer.change(Groups("another", ()))
    one.sign()
    assert one.is_closed


async def refusal(one, **changes):
    socket = Socket(one.application)
    socket.send(one.hello(await socket.expect(wire.Challenge), **changes))
    refused = await socket.expect(wire.Refused)
    assert refused.fatal
    assert await socket.closed() == 1008
    return refused


async def test_a_wrong_signature_is_refused(world):
    device = await rows(world.device)
    assert (await refusal(device, signature="ab" * 64)).code == "bad_signature"


async def test_a_device_that_never_enrolled_is_refused(world):
    device = await rows(world.device)
    unknown = "01234567-89ab-7def-8123-456789abcdef"
    assert (await refusal(device, device=unknown)).code == "device_unknown"
    assert (await refusal(device, device="nobody")).code == "device_unknown"


async def test_attributes_outside_the_schema_are_refused_by_name(world):
    device = await rows(world.device)
    refused = await refusal(device, attributes={"cpu_score": "fast", "shoe_size": 44})
    assert refused.code == "bad_attributes"
    assert set(refused.errors) == {"cpu_score", "shoe_size"}
    assert "not a number" in refused.errors["cpu_score"]


async def test_an_unknown_protocol_is_refused_with_what_is_spoken_here(world):
    device = await rows(world.device)
    assert "supported: 1" in (await refusal(device, protocol=7)).message
    socket = Socket(device.application)
    await socket.expect(wire.Challenge)
    socket.text(json.dumps({"type": "hello", "protocol": 2, "passport": "new field"}))
    refused = await socket.expect(wire.Refused)
    assert refused.code == "protocol_unsupported"
    assert await socket.closed() == 1008


async def test_a_client_without_the_subprotocol_is_refused(world):
    socket = Socket(world.application, subprotocols=("mqtt",))
    assert (await socket.expect(wire.Refused)).code == "protocol_unsupported"
    assert await socket.closed() == 1008


async def test_a_revoked_device_is_refused_and_an_open_socket_closed_at_once(world):
    device = await rows(world.device)
    socket, _ = await device.connect()
    await rows(
        lambda: client_services.revoke_device(
            device_id=device.id, actor="operator", now=timezone.now()
        )
    )
    assert (await socket.expect(wire.Refused)).code == "device_revoked"
    assert await socket.closed() == 1008
    assert (await refusal(device)).code == "device_revoked"


async def test_a_newer_session_replaces_the_older(world):
    device = await rows(world.device)
    older, _ = await device.connect()
    newer, _ = await device.connect()
    assert (await older.expect(wire.Refused)).code == "session_replaced"
    assert await older.closed() == 1008
    newer.send(wire.Ping())
    await newer.expect(wire.Pong)
    await newer.drop()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "bad_frame"),
        ('{"type": "dance"}', "bad_message"),
        ('{"type": "ping", "extra": 1}', "bad_message"),
        ('{"type": "progress", "assignment": "a", "phase": "x"}', "bad_message"),
        ('{"type": "hello"}', "bad_message"),
        (" " * (wire.MAX_CONTROL + 1), "too_long"),
    ],
)
async def test_a_malformed_frame_is_refused_and_the_socket_closed(world, frame, code):
    device = await rows(world.device)
    socket, _ = await device.connect()
    socket.text(frame)
    refused = await socket.expect(wire.Refused)
    assert (refused.code, refused.fatal) == (code, True)
    assert await socket.closed() == 1002


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"short", "bad_frame"),
        (wire.CHUNK_HEADER.pack(9, 1, 0) + b"x", "bad_frame"),
        (wire.CHUNK_HEADER.pack(1, 1, 0) + bytes(wire.MAX_CHUNK + 1), "too_long"),
        (wire.pack_chunk(1, 0, b"x"), "out_of_order"),
    ],
)
async def test_a_malformed_chunk_is_refused_and_the_socket_closed(world, frame, code):
    device = await rows(world.device)
    socket, _ = await device.connect()
    socket.bytes(frame)
    assert (await socket.expect(wire.Refused)).code == code
    assert await socket.closed() == 1002


async def test_a_device_that_floods_is_cut_off(world):
    device = await rows(world.device)
    socket, _ = await device.connect()
    for _ in range(6000):
        socket.send(wire.Ping())
    got = await socket.receive()
    while isinstance(got, wire.Pong):
        got = await socket.receive()
    assert got.code == "rate_limited"
    assert await socket.closed() == 1008


async def test_a_device_that_changes_its_attributes_without_end_is_cut_off(world):
    socket, _ = await (await rows(world.device)).connect()
    for number in range(20):
        socket.send(wire.CheckIn(attributes={"cpu_score": number}))
        await socket.expect(wire.Idle)
    socket.send(wire.CheckIn(attributes={"cpu_score": 21}))
    got = await socket.expect(wire.Refused)
    assert (got.code, got.fatal) == ("rate_limited", True)
    assert await socket.closed() == 1008


async def test_a_device_that_asks_after_foreign_results_without_end_is_cut_off(world):
    socket, _ = await (await rows(world.device)).connect()
    for number in range(200):
        socket.send(wire.Report(assignment=str(UUID(int=number)), weight=1, metrics={}))
    while (got := await socket.expect(wire.Refused)).code == "stale_assignment":
        pass
    assert (got.code, got.fatal) == ("rate_limited", True)
