"""How many sockets an address may hold whose devices have not proved their keys."""

from __future__ import annotations

import pytest
import websockets

from core import knobs
from propius import wire
from tests.integration.gateway.sockets import Socket
from tests.integration.gateway.test_real_socket import control, served
from tests.integration.gateway.world import rows

MOST = 3


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setenv("PROPIUS_STRANGERS_PER_ADDRESS", str(MOST))
    knobs.get.cache_clear()
    yield
    knobs.get.cache_clear()


async def test_a_crowd_is_told_to_come_back_and_others_are_served(gateway, world):
    crowd = [Socket(world.application) for _ in range(MOST)]
    challenges = [await one.expect(wire.Challenge) for one in crowd]
    late = Socket(world.application)
    refused = await late.expect(wire.Retry)
    assert (refused.code, await late.closed()) == ("busy", 1013)
    assert refused.message == "3 connections from your address have not said who they are yet"
    assert refused.after_s >= 1
    # Another address is not asked to pay for it.
    other = Socket(world.application, address="192.0.2.2")
    await other.expect(wire.Challenge)

    # One that proves its key makes room, as does one that goes.
    device = await rows(world.device)
    crowd[0].send(device.hello(challenges[0]))
    await crowd[0].expect(wire.Welcome)
    await crowd[1].drop()
    for _ in range(2):
        crowd.append(Socket(world.application))
        await crowd[-1].expect(wire.Challenge)
    late = Socket(world.application)
    await late.expect(wire.Retry)
    await late.closed()
    for one in (*crowd[:1], *crowd[2:], other):
        await one.drop()
    assert len(gateway.hub.strangers) == 0


async def test_hosts_of_one_ipv6_network_are_one(gateway, world):
    mine = [Socket(world.application, address=f"2001:db8::{one}") for one in range(MOST)]
    for one in mine:
        await one.expect(wire.Challenge)
    late = Socket(world.application, address="2001:db8::ffff:1")
    await late.expect(wire.Retry)
    await late.closed()
    far = Socket(world.application, address="2001:db8:0:1::1")
    await far.expect(wire.Challenge)
    for one in (*mine, far):
        await one.drop()
    assert len(gateway.hub.strangers) == 0


@pytest.mark.parametrize(
    ("trusted", "kind"), [("127.0.0.1", wire.Challenge), ("192.0.2.9", wire.Retry)]
)
async def test_a_proxys_word_on_the_address_counts_if_the_proxy_is_trusted(world, trusted, kind):
    protocol = websockets.Subprotocol(wire.SUBPROTOCOL)
    async with served(world.application, forwarded_allow_ips=trusted) as url:
        open_ones = []
        for number in range(MOST + 1):
            headers = {"X-Forwarded-For": f"198.51.100.{number}"}
            socket = await websockets.connect(
                url, subprotocols=[protocol], additional_headers=headers
            )
            open_ones.append(socket)
            heard = await control(socket)
            assert isinstance(heard, wire.Challenge if number < MOST else kind)
        for socket in open_ones:
            await socket.close()
