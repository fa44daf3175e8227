"""500 open dashboards on one web process while 300 devices a second check in: how true, how dear.

    make bench NAME=dashboard               # 500 pages of ten tenants, seven phases of 6 s
    make bench NAME=dashboard ARGS="--pages 20 --sockets 60 --per-s 30 --seconds 2 --changes 2"

The real process set; devices, rounds and pace are those of the benchmark `bind`: each check-in is
bound, committed, told and declined, so that what pages show never stands still. A page is a socket
as a browser holds it: of an overview, a list of jobs or a job's page, shared out among tenants.

Phases take turns in one run: devices alone, with all pages open, alone again, and so on. A device's
wait is from check-in to assignment; ``device_p99_ratio`` is the median of the phases with pages
over the median of those without, so that what else the machine does weighs on both;
``device_p99_ms_alone`` and ``device_p99_ms_with_pages`` are what the phases had. In each phase a
job of one tenant after the other is paused and resumed, and every open page of that tenant must say
so: ``true_s`` is from the change's commit to the page that says it last; ``pages_untrue`` counts
those that did not within 30 s. ``web_cpu_share`` is the web process's CPU by second with all pages
open.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import Counter
from typing import Any
from uuid import UUID

import uvloop
from django.utils import timezone

from benchmarks import bind, process_set, result
from benchmarks import devices as fleets
from benchmarks.pages import Address, Pages

PAGES, SOCKETS, PER_S, SECONDS, CHANGES, TURNS = 500, 1_000, 300.0, 6.0, 3, 3
TENANTS, ROUNDS, WARM_UP_S, GIVEN_UP_S = 10, 20, 2.0, 30.0
UNSEEN_S = 1.0  # about as long as pages take to tell
TARGETS = {
    "true_s_max": ("<=", 2.0),
    "device_p99_ratio": ("<=", 1.25),
    "pages_untrue": ("==", 0),
}
Figures = dict[str, Any]


class Dashboards:
    """Whose pages are open, and the job of each tenant whose state is changed."""

    def __init__(self, world: Any, jobs: list[Any], count: int) -> None:
        self.marked = dict(zip(world.tenants, jobs, strict=False))
        sessions = {tenant: _session(tenant, world.name) for tenant in world.tenants}
        self.addresses: list[Address] = []
        for number in range(count):
            tenant = world.tenants[number % len(world.tenants)]
            job = f"/ws/jobs/{self.marked[tenant].id}/"
            path = ("/ws/overview/", "/ws/jobs/", job)[number // len(world.tenants) % 3]
            self.addresses.append((str(tenant), path, sessions[tenant]))
        self.delays: list[float] = []
        self.untrue = self.changes = 0

    async def watch(self, pages: Pages, changes: int) -> None:
        """Pause and resume jobs of one tenant after the other; note how late pages say so."""
        for _ in range(2 * changes):
            tenant, is_paused = await self._change(self.changes)
            at = time.monotonic()
            told, silent = await pages.told(str(tenant), is_paused, GIVEN_UP_S)
            self.delays += [moment - at for moment in told]
            self.untrue += silent
            self.changes += 1

    async def change_unseen(self, changes: int) -> None:
        """Pause and resume as often while nobody looks, so that this weighs on all phases alike."""
        for number in range(2 * changes):
            await self._change(number)
            await asyncio.sleep(UNSEEN_S)

    async def _change(self, number: int) -> tuple[UUID, bool]:
        """Pause or resume the job whose turn it is; return whose it is, and which of both."""
        tenant, is_paused = list(self.marked)[number // 2 % len(self.marked)], number % 2 == 0
        await asyncio.to_thread(_set_paused, self.marked[tenant].id, is_paused)
        return tenant, is_paused

    def figures(self) -> Figures:
        """Return how true the pages were."""
        delays = self.delays or [GIVEN_UP_S]
        return {
            "true_s_max": round(max(delays), 3),
            "true_s_p50": round(statistics.median(delays), 3),
            "pages_untrue": self.untrue,
            "changes": self.changes,
        }


async def measure(
    platform: process_set.ProcessSet, options: argparse.Namespace, name: str = "dash"
) -> Figures:
    """Run the phases, by turns without and with pages."""
    from benchmarks.world import World

    world = await asyncio.to_thread(World, TENANTS, name)
    fleet = await asyncio.to_thread(world.devices, options.sockets)
    await fleets.sign_in(fleet, platform.gateway_port)
    jobs = await asyncio.to_thread(
        lambda: [
            world.submit(number, demand=options.sockets, over_selection=bind.OVER_SELECTION)
            for number in range(ROUNDS)
        ]
    )
    await asyncio.to_thread(bind.wait_for_open, jobs)
    dashboards = await asyncio.to_thread(Dashboards, world, jobs, options.pages)
    bench = bind.Bench(platform, fleet, world)
    pace = (options.seconds, options.per_s, options.warm_up_s)

    async def unseen() -> tuple[Figures, list[float]]:
        found, _ = await asyncio.gather(
            bench.paced(*pace), dashboards.change_unseen(options.changes)
        )
        return found

    alone, beside, opened_s, sent = [await unseen()], [], [], Counter[str]()
    for _ in range(options.turns):
        pages = Pages(platform.web_port, dashboards.addresses)
        opened_s.append(await pages.open())
        found, _ = await asyncio.gather(
            bench.paced(*pace), dashboards.watch(pages, options.changes)
        )
        beside.append(found)
        sent += await pages.close()
        alone.append(await unseen())
    for one in fleet:
        one.wire.abort()
    await asyncio.to_thread(world.cancel_all)
    return (
        dashboards.figures()
        | _waits(alone, beside)
        | {
            "binds_per_s": _median([one["binds_per_s"] for one, _ in beside]),
            "web_cpu_share": _median([_share(one, "web") for one, _ in beside]),
            "gateway_cpu_share": _median([_share(one, "gateway") for one, _ in beside]),
            "opened_s": _median(opened_s),
            "pushes_a_page": round(sent["messages"] / options.pages / options.turns, 1),
            "kb_a_push": round(sent["bytes"] / max(1, sent["messages"]) / 1e3, 1),
            "pages": options.pages,
            "sockets": options.sockets,
        }
    )


def _waits(
    alone: list[tuple[Figures, list[float]]], beside: list[tuple[Figures, list[float]]]
) -> Figures:
    figures: Figures = {}
    for name, part in (("p99", 0.99), ("p50", 0.5)):
        without = [bind.ms(waits, part) for _, waits in alone]
        with_pages = [bind.ms(waits, part) for _, waits in beside]
        ratio = statistics.median(with_pages) / statistics.median(without)
        figures |= {
            f"device_{name}_ratio": round(ratio, 3),
            f"device_{name}_ms_alone": without,
            f"device_{name}_ms_with_pages": with_pages,
        }
    return figures


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 3)


def _share(figures: Figures, process: str) -> float:
    """CPU seconds of a process by second."""
    ms_a_bind: float = figures["by_process"].get(process, 0.0)
    return round(ms_a_bind * float(figures["binds_per_s"]) / 1e3, 3)


def _session(tenant_id: UUID, name: str) -> str:
    """Make a member of the tenant, signed in."""
    from django.contrib.auth.models import User
    from django.test import Client

    from tenants import services
    from tenants.models import Role, Tenant

    user = User.objects.create_user(f"{name}-{tenant_id}")
    tenant = Tenant.objects.get(id=tenant_id)
    services.add_member(tenant=tenant, user=user, role=Role.OWNER, now=timezone.now())
    browser = Client()
    browser.force_login(user)
    return browser.cookies["sessionid"].value


def _set_paused(job_id: UUID, is_paused: bool) -> None:
    from jobs import services

    move = services.pause if is_paused else services.resume
    move(job_id=job_id, actor="bench", now=timezone.now())


def main() -> None:
    """Start the platform, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--sockets", type=int, default=SOCKETS)
    parser.add_argument("--per-s", type=float, default=PER_S)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--warm-up-s", type=float, default=WARM_UP_S)
    parser.add_argument("--changes", type=int, default=CHANGES, help="pauses a turn, each resumed")
    parser.add_argument("--turns", type=int, default=TURNS, help="phases with all pages open")
    options = parser.parse_args()
    with process_set.running() as platform:
        figures = uvloop.run(measure(platform, options))
    print(result.line("dashboard", figures, TARGETS))


if __name__ == "__main__":
    main()
