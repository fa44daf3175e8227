"""Devices hear of their software: what is required by when, and what is in quarantine."""

import asyncio

from django.utils import timezone

import jobs.services
from clients import services as client_services
from clients.models import SdkRequirement
from jobs.models import Quarantine
from propius import wire
from tests.integration.gateway.sockets import Socket
from tests.integration.gateway.world import rows

SDK = "test 1"


def quarantine(kind=Quarantine.Kind.SDK, target=SDK):
    return jobs.services.put_in_quarantine(
        kind=kind, target=target, reason="it sends nonsense", author="op", now=timezone.now()
    )


def lift(row):
    jobs.services.lift(quarantine_id=row.id, author="op", now=timezone.now())


def require(percent=100, grace_days=7.0):
    return client_services.require_sdk(
        pool_id=None, name="test", minimum="2", percent=percent, grace_days=grace_days,
        reason="a hole", author="op", now=timezone.now(),
    )  # fmt: skip


async def after_idle(socket):
    """Return what comes next that is not idle."""
    while isinstance(got := await socket.receive(), wire.Idle):
        pass
    return got


async def test_an_old_device_is_told_in_the_hellos_answer_and_goes_on_working(world):
    await rows(require)
    await rows(world.job)
    device = await rows(world.device)
    socket, _ = await device.connect()
    told = await socket.expect(wire.Refused)
    assert (told.code, told.fatal, told.assignment) == ("upgrade_needed", False, None)
    assert told.message == "this device runs test 1; test 2 or newer is needed within 6 days"
    assert set(told.errors) == {"sdk"}
    socket.send(wire.CheckIn())
    assert isinstance(await after_idle(socket), wire.Assignment)
    await socket.drop()


async def test_after_its_time_it_gets_nothing_until_the_requirement_is_rolled_back(world, gateway):
    row = await rows(lambda: require(grace_days=0))
    await rows(world.job)
    old, new = await rows(world.device), await rows(world.device)
    socket, _ = await old.connect()
    assert (await socket.expect(wire.Refused)).code == "upgrade_required"
    socket.send(wire.CheckIn())
    await socket.expect(wire.Idle)
    other = Socket(new.application)
    other.send(new.hello(await other.expect(wire.Challenge), sdk="test 2.1"))
    await other.expect(wire.Welcome)
    other.send(wire.CheckIn())
    assert isinstance(await after_idle(other), wire.Assignment)
    assert gateway.hub.registry.devices[old.id].signature == ""
    await rows(
        lambda: client_services.roll_back_requirement(
            requirement_id=row.id, author="op", now=timezone.now()
        )
    )
    assert isinstance(await after_idle(socket), wire.Assignment)
    assert await rows(lambda: SdkRequirement.objects.latest("id").percent) == 0
    await socket.drop()
    await other.drop()


async def test_software_in_quarantine_is_called_back_and_idles_until_it_is_lifted(world):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    row = await rows(quarantine)
    cancelled = await socket.expect(wire.Cancelled)
    assert (cancelled.assignment, cancelled.code) == (assignment.id, "quarantined")
    words = f"the operator has put devices that run {SDK} in quarantine: it sends nonsense"
    assert cancelled.message == words
    told = None
    socket.send(wire.CheckIn())
    while not isinstance(got := await socket.receive(), wire.Idle):
        told = got
    told = told or await socket.expect(wire.Refused)
    assert (told.code, told.message, told.fatal) == ("sdk_quarantined", words, False)
    await rows(lambda: lift(row))
    # It has had this round; another job's is for it.
    await rows(lambda: world.job(name="another"))
    got = await after_idle(socket)
    assert got.job_name == "another"
    await socket.drop()


async def test_a_job_in_quarantine_is_withdrawn_from_who_works_on_it_at_once(world):
    job = await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    row = await rows(lambda: quarantine(Quarantine.Kind.JOB, str(job.id)))
    cancelled = await socket.expect(wire.Cancelled)
    assert (cancelled.assignment, cancelled.code) == (assignment.id, "quarantined")
    assert cancelled.message.endswith("in quarantine: it sends nonsense")
    second = await rows(world.device)
    other, _ = await second.connect()
    other.send(wire.CheckIn())
    await other.expect(wire.Idle)
    await rows(lambda: lift(row))
    assert isinstance(await after_idle(other), wire.Assignment)
    await socket.drop()
    await other.drop()


async def test_a_device_at_work_hears_of_a_requirement_when_it_is_free(world, gateway):
    await rows(world.job)
    device = await rows(world.device)
    socket, assignment = await device.working()
    await rows(require)
    async with asyncio.timeout(20):
        while gateway.hub.registry.devices[device.id].notice is None:
            await asyncio.sleep(0.02)
    socket.send(wire.Ping())
    await socket.expect(wire.Pong)
    socket.send(wire.Decline(assignment=assignment.id, code="busy"))
    socket.send(wire.CheckIn())
    assert (await socket.expect(wire.Refused)).code == "upgrade_needed"
    await socket.drop()
