"""The gateway signs its devices anew when the tiers change, and serves them under either."""

import asyncio

from django.utils import timezone

from propius import wire
from scheduling import services
from tests.integration.gateway.sockets import Socket
from tests.integration.gateway.world import rows


def choose(name, **parameters):
    services.set_policy(
        name=name, parameters=parameters, author="op", reason="try it", now=timezone.now()
    )


async def signed(gateway, expected):
    """Wait until the devices have these signatures."""
    async with asyncio.timeout(20):
        while expected != {
            device: one.signature for device, one in gateway.hub.registry.devices.items()
        }:
            await asyncio.sleep(0.02)


async def connected(device, score):
    socket = Socket(device.application)
    challenge = await socket.expect(wire.Challenge)
    socket.send(device.hello(challenge, attributes={"cpu_score": score}))
    await socket.expect(wire.Welcome)
    return socket


async def test_devices_are_signed_by_tier_while_the_policy_has_tiers(world, gateway):
    job = await rows(world.job)
    fast, slow = await rows(world.device), await rows(world.device)
    sockets = [await connected(fast, 8), await connected(slow, 1)]
    group = job.constraint_group
    await signed(gateway, {fast.id: group, slow.id: group})
    await rows(lambda: choose("irs", tiers=2))
    await signed(gateway, {fast.id: f"{group}+~0", slow.id: f"{group}+~1"})
    for socket in sockets:
        socket.send(wire.CheckIn())
        while isinstance(got := await socket.receive(), wire.Idle):
            pass
        assert isinstance(got, wire.Assignment)
    await rows(lambda: choose("irs"))
    await signed(gateway, {fast.id: group, slow.id: group})
    for socket in sockets:
        await socket.drop()
