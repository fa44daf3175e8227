"""15 000 idle devices on one gateway process: memory, demand that wakes a third, and a kill.

    make bench NAME=idle                             # 15 000 devices, demand for 5 000
    make bench NAME=idle ARGS="--devices 100 --demand 30"

The real process set and one generator process on the same cores. Needs a descriptor a device on
both sides: where `ulimit -n` allows fewer, the fleet and the demand shrink alike and the figures
say to what.

``rss_kb_per_device`` is the gateway's resident memory with all devices idle, less that of the
empty gateway, by device (sockets' buffers in the kernel are not in it). ``bound_s`` is from the
opening of the first of five rounds to the last assignment at a device. Then the gateway gets
SIGKILL; supervisor starts another. A device comes back as the agent does: after 0.5 to 1.5 s at
first, doubled with each try in vain up to 15 s, or when a ``retry`` tells it to; a connection that
does not open within 15 s is such a try.
``back_s`` is from the kill until the last device has been welcomed. ``welcomes_per_s_max`` is the
most that one second let in, ``unanswered`` counts connections that ended without a word.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import signal
import time
from collections import Counter
from typing import Any

import psutil
import uvloop

from benchmarks import devices as fleets
from benchmarks import process_set, result
from benchmarks.devices import Device

DEVICES, DEMAND, ROUNDS, SEED = 15_000, 5_000, 5, 7
SPARE_FILES = 500
FIRST_S, LONGEST_S = 1.0, 15.0
TARGETS = {
    "rss_kb_per_device": ("<=", 40.0),
    "bound_s": ("<=", 3.0),
    "back_s": ("<=", 60.0),
    "told_without_row": ("==", 0),
}
Figures = dict[str, Any]


def room_for_devices() -> int:
    """Raise this process's limit of open files; return how many devices fit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return files - SPARE_FILES


async def measure(
    platform: process_set.ProcessSet, options: argparse.Namespace, name: str = "bench"
) -> Figures:
    """Fill the gateway, open demand, kill the gateway."""
    from benchmarks.world import World

    count = min(options.devices, room_for_devices())
    demand = options.demand * count // options.devices
    world = await asyncio.to_thread(World, ROUNDS, name)
    fleet = await asyncio.to_thread(world.devices, count)
    figures = await _filled(platform, fleet, options.rest_s)
    bound, opened_s = await _opened(world, fleet, demand)
    told = [held for held in bound.values() if held]
    figures |= {"bound": len(told), "bound_s": opened_s}
    await asyncio.sleep(options.rest_s)
    figures |= await _killed(platform, fleet)
    rows = await asyncio.to_thread(_rows, told)
    return figures | {"told_without_row": len(told) - rows, "devices": count, "demand": demand}


async def _filled(platform: process_set.ProcessSet, fleet: list[Device], rest_s: float) -> Figures:
    gateway = psutil.Process(platform.pid("gateway"))
    empty, at, used = gateway.memory_info().rss, time.monotonic(), platform.cpu_s()
    idle: set[Device] = set()

    def heard(one: Device, kind: bytes, _: bytes) -> None:
        if kind == b"idle":
            idle.add(one)

    for one in fleet:
        one.heard = heard

    async def enter(part: list[Device]) -> None:
        await fleets.sign_in(part, platform.gateway_port, at_once=len(part))
        for one in part:
            one.check_in()

    parts = [fleet[first : first + 50] for first in range(0, len(fleet), 50)]
    for first in range(0, len(parts), 4):
        await asyncio.gather(*map(enter, parts[first : first + 4]))
    await fleets.until(lambda: len(idle) == len(fleet))
    signed_in_s = time.monotonic() - at
    used_after = platform.cpu_s()
    await asyncio.sleep(rest_s)
    full = gateway.memory_info().rss
    return {
        "rss_kb_per_device": round((full - empty) / 1024 / len(fleet), 2),
        "gateway_rss_mb": round(full / 2**20, 1),
        "signed_in_per_s": round(len(fleet) / signed_in_s, 1),
        "server_cpu_ms_per_hello": round(
            (sum(used_after.values()) - sum(used.values())) * 1e3 / len(fleet), 3
        ),
    }


async def _opened(world: Any, fleet: list[Device], demand: int) -> tuple[dict[Device, str], float]:
    bound: dict[Device, str] = {}
    last = 0.0

    def heard(one: Device, kind: bytes, payload: bytes) -> None:
        nonlocal last
        if kind == b"assignment":
            last = time.time()
            assignment = fleets.field(payload, b"id")
            bound[one] = assignment.decode()
            one.accept(assignment)

    for one in fleet:
        one.heard = heard
    parts = [demand // ROUNDS] * ROUNDS
    jobs = await asyncio.to_thread(
        lambda: [world.submit(number, demand=n) for number, n in enumerate(parts)]
    )
    await fleets.until(lambda: len(bound) >= sum(parts))
    opened_at = await asyncio.to_thread(_first_opened, jobs)
    return bound, round(last - opened_at, 3)


async def _killed(platform: process_set.ProcessSet, fleet: list[Device]) -> Figures:
    draw = random.Random(SEED)
    welcomed: list[float] = []
    counts: Counter[str] = Counter()
    gone = asyncio.Event()

    def heard(_: Device, kind: bytes, __: bytes) -> None:
        if kind == b"gone":
            gone.set()

    for one in fleet:
        one.heard = heard
    platform.kill("gateway", signal.SIGKILL)
    at = time.monotonic()
    await asyncio.wait_for(gone.wait(), 10.0)

    async def come_back(one: Device) -> None:
        wait_s = FIRST_S
        while True:
            await asyncio.sleep(wait_s * draw.uniform(0.5, 1.5))
            try:
                if await fleets.try_to_sign_in(one, platform.gateway_port):
                    welcomed.append(time.monotonic() - at)
                    return
            except TimeoutError:
                counts["timeouts"] += 1
            except OSError:
                counts["port_closed"] += 1
            else:
                counts["retries" if one.retry_s else "unanswered"] += 1
            if one.retry_s:
                await asyncio.sleep(one.retry_s)
            else:
                wait_s = min(LONGEST_S, wait_s * 2)

    await asyncio.wait_for(asyncio.gather(*map(come_back, fleet)), 300.0)
    by_second = Counter(int(one) for one in welcomed)
    return {
        "back_s": round(max(welcomed), 2),
        "first_back_s": round(min(welcomed), 2),
        "welcomes_per_s_max": max(by_second.values()),
        "told_to_return": counts["retries"],
        "back_p99_s": round(sorted(welcomed)[int(0.99 * (len(welcomed) - 1))], 2),
        "port_closed": counts["port_closed"],
        "timeouts": counts["timeouts"],
        "unanswered": counts["unanswered"],
    }


def _first_opened(jobs: list[Any]) -> float:
    from jobs.models import Round

    first = Round.objects.filter(job__in=jobs).order_by("opened_at").first()
    assert first is not None
    return first.opened_at.timestamp()


def _rows(told: list[str]) -> int:
    from jobs.models import Assignment

    return Assignment.objects.filter(id__in=told).count()


def main() -> None:
    """Start the platform, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--demand", type=int, default=DEMAND)
    parser.add_argument("--rest-s", type=float, default=3.0, help="between phases")
    options = parser.parse_args()
    with process_set.running() as platform:
        figures = uvloop.run(measure(platform, options))
    figures["files"] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    figures["cores"] = os.cpu_count()
    print(result.line("idle", figures, TARGETS))


if __name__ == "__main__":
    main()
