"""Servers that go away under the gateway: no session is lost, no slot given twice."""

from __future__ import annotations

import asyncio

from django.db import connection

from propius import wire
from tests.integration.gateway.test_work import upload
from tests.integration.gateway.world import ONES, rows


def kill_connections_to_postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database() "
            "AND usename = current_user"
        )


async def test_a_wiped_redis_is_rebuilt_and_idle_devices_still_bind(world, redis):
    devices = await rows(lambda: [world.device() for _ in range(8)])
    sockets = [(await device.connect())[0] for device in devices]
    for socket in sockets:
        socket.send(wire.CheckIn())
        await socket.expect(wire.Idle)
    redis.flushall()
    job = await rows(world.job)
    redis.flushall()
    bound = 0
    async with asyncio.timeout(10):
        while bound < 6:
            await asyncio.sleep(0.05)
            for socket in sockets:
                if not socket.silent():
                    assert isinstance(await socket.receive(), wire.Assignment)
                    bound += 1
    await asyncio.sleep(1.2)
    assert all(socket.silent() for socket in sockets)
    row = await rows(lambda: world.round(job))
    assert row.assigned == row.target == 6
    await asyncio.gather(*(socket.drop() for socket in sockets))


async def test_connections_to_redis_that_break_are_made_anew(world, redis):
    device = await rows(world.device)
    socket, _ = await device.connect()
    socket.send(wire.CheckIn())
    await socket.expect(wire.Idle)
    for kind in ("pubsub", "normal"):
        redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    await rows(world.job)
    await socket.expect(wire.Assignment)
    await socket.drop()


async def test_a_killed_postgres_session_does_not_poison_the_threads(world):
    await rows(world.job)
    devices = await rows(lambda: [world.device() for _ in range(6)])
    working = [await device.working() for device in devices]
    for socket, assignment in working:
        await rows(kill_connections_to_postgres)
        assert isinstance(await upload(socket, assignment.id, ONES), wire.Accepted)
        await socket.drop()


async def test_a_gateway_that_restarts_finds_its_devices_assignments(world, gateway):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    await socket.drop()
    former, gateway.hub = gateway.hub, type(gateway.hub)()
    gateway.hub.start()
    await former.stop()
    socket, welcome = await device.connect()
    assert welcome.resume.id == assignment.id
    assert isinstance(await upload(socket, assignment.id, ONES), wire.Accepted)
    await socket.drop()
