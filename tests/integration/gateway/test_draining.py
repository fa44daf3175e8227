"""A gateway that ends sends its devices away, and those at work keep what they do."""

from __future__ import annotations

from gateway import draining
from jobs.models import Assignment
from propius import wire
from tests.integration.gateway.sockets import Socket
from tests.integration.gateway.world import rows


async def test_devices_hear_when_to_come_back_and_keep_their_work(gateway, world):
    await rows(lambda: world.job())
    worker, idle = await rows(world.device), await rows(world.device)
    working, assignment = await worker.working()
    waiting, _ = await idle.connect()
    await draining.drain(gateway.hub, within_s=10)
    for socket in (working, waiting):
        while not isinstance(told := await socket.receive(), wire.Retry):
            pass
        assert told.code == "draining"
        assert 1.0 <= told.after_s <= 3.0
        assert await socket.closed() == 1013
    assert gateway.hub.sockets == 0
    kept = await rows(lambda: world.assignment(assignment.id))
    assert kept.status == Assignment.Status.BOUND


async def test_who_signs_in_meanwhile_is_sent_away_too(gateway, world):
    device = await rows(world.device)
    socket = Socket(device.application)
    await draining.drain(gateway.hub, within_s=10)
    socket.send(device.hello(await socket.expect(wire.Challenge)))
    assert (await socket.expect(wire.Retry)).code == "draining"
    assert await socket.closed() == 1013
