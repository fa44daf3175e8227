"""A shared pool's counts stand in several places: no two of them together tell a small one."""

import itertools

import pytest
from django.utils import timezone

from clients import services as client_services
from clients.models import Device
from clients.telling import Told
from jobs.models import Assignment
from tenants.scopes import system_scope
from tests.integration import factories

BARS = {1: ("devices",), 2: ("linux", "rare")}
"""Of systems, rare ones last: where both are rare, one bar is of all."""


@pytest.fixture
def looks(world, browse):
    """Return a function that makes a fleet and what every place tells of it: (count, bounds)."""

    def look(others, idle, offline, mine, rare):
        total = others + idle + offline + mine
        made = [
            factories.device(world.shared, os="linux" if at >= rare else "plan9")
            for at in range(total)
        ]
        with system_scope():
            Device.objects.all().update(enrolled_at=factories.NOW)
            there = [one.id for one in made[offline:]]
            Device.objects.filter(id__in=there).update(seen_at=timezone.now())
            client_services.take_census(now=timezone.now())
            theirs = factories.job(world.other)
            bind([world.job] * mine + [theirs] * others, made[offline:])
        return told(browse(world.viewer))

    def bind(jobs, devices):
        for job, device in zip(jobs, devices, strict=False):
            Assignment.objects.create(
                tenant_id=job.tenant_id, job=job, round=factories.open_round(job),
                device=device, bound_at=timezone.now(), lease_expires_at=timezone.now(),
            )  # fmt: skip

    return look


def told(browser):
    devices = browser.get("/devices/").context["devices"]
    (pool,) = [one for one in devices.fleet.pools if one.is_shared]
    for of in (devices.fleet, browser.get("/").context["fleet"]):
        yield from ((one.kind, one.figure.bounds) for one in of.segments if one.kind != "mine")
        yield from (("devices", of.devices.bounds), ("online", of.online.bounds))
    yield from ((name, getattr(pool, name).bounds) for name in ("devices", "online", "bound"))
    yield from ((name, getattr(pool, name).bounds) for name in ("others", "idle", "offline"))
    (os,) = [one for one in devices.distributions if one.name == "os"]
    yield from zip(BARS[len(os.bars)], (bar.figure.bounds for bar in os.bars), strict=True)
    for asked, name in (("", "devices"), ("os = linux", "linux"), ("os = plan9", "rare")):
        found = browser.get("/devices/eligible/", {"q": asked}).context["found"].counts
        yield name, (found.left or [found.devices])[-1]
        yield "devices", found.devices
        if not asked:
            yield "online", found.online
            yield "online", Told(0, found.day.most)  # who is online was there today


@pytest.mark.parametrize(
    ("others", "idle", "offline", "mine", "rare"),
    [
        (0, 2, 6, 0, 0), (0, 4, 4, 0, 4), (3, 3, 2, 0, 1), (0, 8, 0, 0, 8), (0, 2, 14, 4, 3),
        (0, 2, 0, 6, 6), (2, 16, 2, 5, 2),
    ],
)  # fmt: skip
def test_all_that_is_told_of_a_pool_together_leaves_a_small_count_open(
    looks, others, idle, offline, mine, rare
):
    seen = list(looks(others, idle, offline, mine, rare))
    most = range(others + idle + offline + mine + 5)

    def holds(**counts):
        return all(
            bounds.least <= counts[name] <= bounds.most for name, bounds in seen if name in counts
        )

    fits = [
        one
        for one in itertools.product(most, repeat=3)
        if holds(
            others=one[0], idle=one[1], offline=one[2], bound=mine + one[0],
            online=mine + one[0] + one[1], devices=mine + sum(one),
        )
    ]  # fmt: skip
    wholes = {mine + sum(one) for one in fits}
    systems = {one for one in most for whole in wholes if holds(rare=one, linux=whole - one)}
    assert (others, idle, offline) in fits  # nothing untrue is told
    assert rare in systems
    ways = [{one[at] for one in fits} for at in range(3)]
    for count, open_to in zip((others, idle, offline, rare), (*ways, systems), strict=True):
        assert not 0 < count < 5 or len(open_to) > 1, (count, seen)
