"""What a bind costs: check-in to assignment (its row committed) to decline, on the real platform.

    make bench NAME=bind                    # 1 000 sockets, 60 rounds, 8 s a phase
    make bench NAME=bind ARGS="--sockets 50 --seconds 2 --burst-devices 30 --burst 3,3,3"

One process of this generator against `manage.py up` (gateway, web, workers, beat, Postgres and
Valkey), all on the same cores. Server CPU is that of all those processes, read from the kernel
before and after a phase, and divided by the assignments that devices received in it.

A device is never given the same round twice. So the endless source is 60 jobs of five tenants,
each with one open round that asks for the whole fleet and binds up to three times as many, so that
it is never full: each device can be bound 60 times, and by the end the script passes over up to 60
rounds that a device has had. Every assignment told is looked up among the rows afterwards.

Phases: **burst** (devices wait idle, jobs are submitted at once; from ``opened_at`` of a round to
its last assignment at a device, the slowest round counts; devices accept; median of three),
**closed** (every socket checks in again the moment it has declined), **paced** (500 check-ins
per second by the clock, not by the answers).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import uvloop

from benchmarks import devices as fleets
from benchmarks import process_set, result
from benchmarks.devices import Device

SOCKETS, ROUNDS, SECONDS, PER_S, TENANTS = 1_000, 60, 8.0, 500, 5
OVER_SELECTION = 3.0
BURST_DEVICES, BURST, BURSTS = 600, "70,70,70,70,70", 3
WARM_UP_S = 2.0
TARGETS = {
    "server_cpu_ms_per_bind": ("<=", 0.45),
    "binds_per_s": (">=", 2500.0),
    "paced_p50_ms": ("<=", 5.0),
    "paced_p99_ms": ("<=", 50.0),
    "rejected_accepts": ("==", 0),
    "told_without_row": ("==", 0),
    "burst_fill_s": ("<=", 0.5),
}
Figures = dict[str, Any]


class Bench:
    """The phases, over one signed-in fleet."""

    def __init__(self, platform: process_set.ProcessSet, fleet: list[Device], world: Any) -> None:
        self.platform = platform
        self.fleet = fleet
        self.world = world
        self.said: Counter[str] = Counter()
        self.told: list[bytes] = []

    def hear(self, answer: Callable[[Device, bytes, bytes], None]) -> None:
        """Let all devices answer so; what is not an assignment or idle is counted by type."""

        def heard(one: Device, kind: bytes, payload: bytes) -> None:
            self.said[kind.decode()] += 1
            answer(one, kind, payload)

        for one in self.fleet:
            one.heard = heard

    # --- a round opens for devices that wait ------------------------------------------------------

    async def burst(self, waiting: int, demands: list[int]) -> tuple[float, int]:
        """Return when the slowest round was filled, and how many accepts were rejected."""
        last: dict[bytes, float] = {}
        bound: set[Device] = set()
        rejected = idle = 0
        ended = False

        def answer(one: Device, kind: bytes, payload: bytes) -> None:
            nonlocal idle, rejected
            if kind == b"assignment":
                last[fleets.field(payload, b"round")] = time.time()
                bound.add(one)
                one.accept(fleets.field(payload, b"id"))
            elif kind == b"idle":
                idle += 1
            elif kind in (b"cancelled", b"refused"):
                rejected += not ended
                bound.discard(one)

        self.hear(answer)
        for one in self.fleet[:waiting]:
            one.check_in()
        await fleets.until(lambda: idle >= waiting)
        await asyncio.sleep(1.5)
        jobs = await asyncio.to_thread(
            lambda: [self.world.submit(number, demand=n) for number, n in enumerate(demands)]
        )
        await fleets.until(lambda: len(bound) >= sum(demands))
        await asyncio.sleep(0.5)
        opened = await asyncio.to_thread(_opened, jobs)
        ended = True
        await asyncio.to_thread(self.world.cancel, jobs)
        await fleets.until(lambda: not bound)
        await self._leave_pool(waiting)
        return max(last[name] - at for name, at in opened.items()), rejected

    async def _leave_pool(self, waiting: int) -> None:
        """Connect anew, so that the next phase starts with nobody waiting."""
        for one in self.fleet[:waiting]:
            one.wire.abort()
        await asyncio.sleep(0.5)
        await fleets.sign_in(self.fleet[:waiting], self.platform.gateway_port)

    # --- a steady stream --------------------------------------------------------------------------

    async def closed(self, seconds: float, warm_up_s: float) -> Figures:
        """Let every socket bind and decline without a pause."""
        going = True

        def answer(one: Device, kind: bytes, payload: bytes) -> None:
            if kind == b"assignment":
                assignment = fleets.field(payload, b"id")
                self.told.append(assignment)
                one.decline(assignment)
                if going:
                    one.check_in()

        self.hear(answer)
        for one in self.fleet:
            one.check_in()
        await asyncio.sleep(warm_up_s)
        figures = await self._measured(seconds)
        going = False
        await self._quiet()
        return figures

    async def _quiet(self) -> None:
        """Wait until no assignment has come for a second."""
        before = -1
        while before != len(self.told):
            before = len(self.told)
            await asyncio.sleep(1.0)

    async def paced(
        self, seconds: float, per_s: float, warm_up_s: float
    ) -> tuple[Figures, list[float]]:
        """Let ``per_s`` devices a second check in; return each one's wait for its assignment."""
        free = deque(self.fleet)
        asked: dict[Device, float] = {}
        waits: list[float] = []

        def answer(one: Device, kind: bytes, payload: bytes) -> None:
            if kind == b"assignment":
                if one in asked:  # else: its last check-in was of the closed loop
                    waits.append(time.perf_counter() - asked.pop(one))
                assignment = fleets.field(payload, b"id")
                self.told.append(assignment)
                one.decline(assignment)
                free.append(one)

        async def clock() -> None:
            due = time.perf_counter()
            while True:
                while due <= time.perf_counter():
                    due += 1 / per_s
                    if free:
                        one = free.popleft()
                        asked[one] = time.perf_counter()
                        one.check_in()
                await asyncio.sleep(max(0.0, due - time.perf_counter()))

        self.hear(answer)
        ticking = asyncio.create_task(clock())
        await asyncio.sleep(warm_up_s)
        waits.clear()
        figures = await self._measured(seconds)
        ticking.cancel()
        await self._quiet()
        return figures, sorted(waits)

    async def _measured(self, seconds: float) -> Figures:
        binds, cpu, at = len(self.told), self.platform.cpu_s(), time.perf_counter()
        await asyncio.sleep(seconds)
        binds, passed = len(self.told) - binds, time.perf_counter() - at
        used = {name: spent - cpu[name] for name, spent in self.platform.cpu_s().items()}
        by_process = {
            name: round(spent * 1e3 / max(1, binds), 4)
            for name, spent in sorted(used.items(), key=lambda one: -one[1])
            if spent > 0
        }
        return {
            "binds": binds,
            "binds_per_s": round(binds / passed, 1),
            "server_cpu_ms_per_bind": round(sum(used.values()) * 1e3 / max(1, binds), 4),
            "by_process": by_process,
        }


async def measure(platform: process_set.ProcessSet, options: argparse.Namespace) -> Figures:
    """Run all phases."""
    from benchmarks.world import World

    world = await asyncio.to_thread(World, TENANTS)
    fleet = await asyncio.to_thread(world.devices, options.sockets)
    await fleets.sign_in(fleet, platform.gateway_port)
    bench = Bench(platform, fleet, world)
    bursts = []
    demands = [int(one) for one in options.burst.split(",")]
    for _ in range(options.bursts):
        bursts.append(await bench.burst(min(options.burst_devices, options.sockets), demands))
    jobs = await asyncio.to_thread(
        lambda: [
            world.submit(number, demand=options.sockets, over_selection=OVER_SELECTION)
            for number in range(options.rounds)
        ]
    )
    await asyncio.to_thread(wait_for_open, jobs)
    await asyncio.sleep(1.5)
    bench.said.clear()
    figures = await bench.closed(options.seconds, options.warm_up_s)
    paced, waits = await bench.paced(options.seconds, options.per_s, options.warm_up_s)
    rows = await asyncio.to_thread(_rows, bench.told)
    for one in fleet:
        one.wire.abort()
    await asyncio.to_thread(world.cancel_all)
    return figures | {
        "paced_binds_per_s": paced["binds_per_s"],
        "paced_server_cpu_ms_per_bind": paced["server_cpu_ms_per_bind"],
        "paced_by_process": paced["by_process"],
        "paced_p50_ms": ms(waits, 0.5),
        "paced_p99_ms": ms(waits, 0.99),
        "burst_fill_s": round(statistics.median(fill for fill, _ in bursts), 3),
        "burst_fills_s": [round(fill, 3) for fill, _ in bursts],
        "rejected_accepts": sum(rejected for _, rejected in bursts),
        "told": len(bench.told),
        "told_without_row": len(bench.told) - rows,
        "other_answers": {
            kind: n for kind, n in bench.said.items() if kind not in ("assignment", "pong")
        },
        "sockets": options.sockets,
        "rounds": options.rounds,
    }


def ms(waits: list[float], share: float) -> float:
    """Return the quantile ``share`` of sorted waits."""
    return round(waits[int(share * (len(waits) - 1))] * 1e3, 3) if waits else float("inf")


def _opened(jobs: list[Any]) -> dict[bytes, float]:
    from jobs.models import Round

    rows = Round.objects.filter(job__in=jobs).values_list("id", "opened_at")
    return {str(identifier).encode(): at.timestamp() for identifier, at in rows}


def wait_for_open(jobs: list[Any]) -> None:
    """Return when the first round of each job asks for devices."""
    from jobs.models import Round

    until = time.monotonic() + 60.0
    rounds = Round.objects.filter(job__in=jobs, status=Round.Status.SELECTING)
    while rounds.count() < len(jobs):
        if time.monotonic() > until:
            raise SystemExit("the platform did not admit all jobs within a minute")
        time.sleep(0.1)


def _rows(told: list[bytes]) -> int:
    from jobs.models import Assignment

    ids = [one.decode() for one in told]
    parts = [ids[first : first + 5000] for first in range(0, len(ids), 5000)]
    return sum(Assignment.objects.filter(id__in=part).count() for part in parts)


def main() -> None:
    """Start the platform, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sockets", type=int, default=SOCKETS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--warm-up-s", type=float, default=WARM_UP_S)
    parser.add_argument("--per-s", type=float, default=PER_S)
    parser.add_argument("--burst-devices", type=int, default=BURST_DEVICES)
    parser.add_argument("--burst", default=BURST, help="demand of each contending job's round")
    parser.add_argument("--bursts", type=int, default=BURSTS)
    options = parser.parse_args()
    with process_set.running() as platform:
        figures = uvloop.run(measure(platform, options))
    print(result.line("bind", figures, TARGETS))


if __name__ == "__main__":
    main()
