"""Servers that go away under the gateway: no session is lost, no slot given twice."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

import psycopg
from django.db import connection
from django.utils import timezone

from core.ids import uuid7
from gateway import uploads
from jobs import services as job_services
from jobs.models import Artifact
from jobs.services import Binding
from propius import wire
from tests.integration.gateway.test_work import announce, refused, upload
from tests.integration.gateway.world import ONES, rows


def kill_connections_to_postgres() -> None:
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database() "
            "AND usename = current_user"
        )


@contextlib.contextmanager
def postgres_away():
    """Nobody can connect, and whoever was connected is not."""
    with psycopg.connect(**{**connection.get_connection_params(), "autocommit": True}) as admin:
        name = psycopg.sql.Identifier(connection.settings_dict["NAME"])
        limit = psycopg.sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}")
        pool, timeout = connection.pool, connection.pool.timeout
        pool.timeout = 0.2
        try:
            admin.execute(limit.format(name, psycopg.sql.Literal(0)))
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database() "
                "AND usename = current_user"
            )
            yield
        finally:
            pool.timeout = timeout
            admin.execute(limit.format(name, psycopg.sql.Literal(-1)))


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
    async with asyncio.timeout(60):
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


async def test_a_result_waits_out_an_outage_and_is_not_sent_again(world, monkeypatch):
    monkeypatch.setattr(uploads, "PATIENCE_S", 0.5)
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    announce(socket, assignment.id, ONES)
    ready = await socket.expect(wire.UploadReady)
    with postgres_away():
        socket.bytes(wire.pack_chunk(2, ready.offset, ONES))
        while isinstance(got := await socket.receive(), wire.Credit):
            pass
        assert isinstance(got, wire.Retry)
        assert got.code == "unavailable"
        assert await socket.closed() == 1013
    socket, welcome = await device.connect()
    assert welcome.resume.id == assignment.id
    socket.send(wire.Accept(assignment=assignment.id))
    announce(socket, assignment.id, ONES)
    assert (await socket.expect(wire.UploadReady)).offset == len(ONES)
    assert isinstance(await socket.receive(), wire.Accepted)
    await socket.drop()


async def test_a_fault_that_nobody_foresaw_ends_the_session_and_not_the_work(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    await rows(lambda: Artifact.objects.all().delete())
    announce(socket, assignment.id, ONES)
    await refused(socket, "internal_error", fatal=True)
    assert (await rows(lambda: world.assignment(assignment.id))).status == "bound"


async def test_a_slot_that_came_to_nothing_is_planned_anew_at_once(world, redis):
    job = await rows(world.job)
    device = await rows(world.device)
    socket, _ = await device.connect()
    held = Binding(uuid7(), (await rows(lambda: world.round(job))).id, UUID(device.id), 1)
    await rows(lambda: job_services.assign(bindings=[held], now=timezone.now()))
    socket.send(wire.CheckIn())
    while isinstance(got := await socket.receive(), wire.Idle):
        redis.delete("{p}:hint:scheduling.plan")  # asked for by the new signature
    assert got.id == str(held.assignment_id)
    async with asyncio.timeout(30):
        while not redis.exists("{p}:hint:scheduling.plan"):
            await asyncio.sleep(0.01)
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
