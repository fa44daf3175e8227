"""500 open dashboards on one web process while 300 devices a second check in: how true, how dear.

    make bench NAME=dashboard               # 500 pages of ten tenants, three phases of 10 s
    make bench NAME=dashboard ARGS="--pages 20 --sockets 60 --per-s 30 --seconds 2 --changes 2"

The real process set; devices, rounds and pace are those of the benchmark `bind`: each check-in is
bound, committed, told and declined, so that what pages show never stands still. A page is a socket
as a browser holds it: of an overview, a list of jobs or a job's page, shared out among tenants.

Three phases in one run: devices alone, with all pages open, alone again. A device's wait is from
check-in to assignment; ``device_p99_ratio`` sets the phase with pages against the mean of the two
without, so that what else the machine does weighs on both. While pages are open, a job of one
tenant after the other is paused and resumed, and every page of that tenant must say so: ``true_s``
is from the change's commit to the page that says it last; ``pages_untrue`` counts those that did
not within 30 s. ``web_cpu_share`` is the web process's CPU by second with all pages open.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from typing import Any
from uuid import UUID

import uvloop
import websockets
from django.utils import timezone

from benchmarks import bind, process_set, result
from benchmarks import devices as fleets

PAGES, SOCKETS, PER_S, SECONDS, CHANGES = 500, 1_000, 300.0, 10.0, 5
TENANTS, ROUNDS, WARM_UP_S, GIVEN_UP_S = 10, 20, 2.0, 30.0
OPENED_AT_ONCE = 20
TARGETS = {
    "true_s_max": ("<=", 2.0),
    "device_p99_ratio": ("<=", 1.25),
    "pages_untrue": ("==", 0),
}
TELLING = ('id="in-progress"', 'id="list"', 'id="state"')
"""The sections of the three kinds of page that tell the state of a job."""
PAUSED = ">Paused<"
Figures = dict[str, Any]


class Page:
    """One open page: what it shows, and since when it says that its tenant's job is paused."""

    def __init__(self, path: str, session: str) -> None:
        self.path = path
        self.session = session
        self.socket: Any = None
        self.reading: asyncio.Task[None] | None = None
        self.messages = self.bytes = 0
        self.is_paused = False
        self.turned_at = 0.0

    async def open(self, port: int) -> None:
        """Connect, see the page as it is, and read on."""
        self.socket = await websockets.connect(
            f"ws://127.0.0.1:{port}{self.path}",
            additional_headers={
                "Cookie": f"sessionid={self.session}", "Origin": f"http://127.0.0.1:{port}",
            },
            max_size=None, compression=None, open_timeout=60, ping_interval=None,
        )  # fmt: skip
        self._take(await self.socket.recv())
        self.reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Leave as a closed tab does."""
        if self.reading is not None:
            self.reading.cancel()
        await self.socket.close()

    async def _read(self) -> None:
        async for message in self.socket:
            self._take(message)

    def _take(self, html: str) -> None:
        self.messages += 1
        self.bytes += len(html)
        if any(one in html for one in TELLING) and (PAUSED in html) != self.is_paused:
            self.is_paused, self.turned_at = not self.is_paused, time.monotonic()


class Dashboards:
    """All pages, by tenant, and the job of each whose state is changed."""

    def __init__(self, world: Any, jobs: list[Any], count: int) -> None:
        self.marked = dict(zip(world.tenants, jobs, strict=False))
        sessions = {tenant: _session(tenant, world.name) for tenant in world.tenants}
        self.pages: dict[UUID, list[Page]] = {tenant: [] for tenant in world.tenants}
        for number in range(count):
            tenant = world.tenants[number % len(world.tenants)]
            job = f"/ws/jobs/{self.marked[tenant].id}/"
            path = ("/ws/overview/", "/ws/jobs/", job)[number // len(world.tenants) % 3]
            self.pages[tenant].append(Page(path, sessions[tenant]))

    def all(self) -> list[Page]:
        """Every page."""
        return [page for pages in self.pages.values() for page in pages]

    async def open(self, port: int) -> float:
        """Open all pages, some at once; return how long that took."""
        began, doors = time.monotonic(), asyncio.Semaphore(OPENED_AT_ONCE)

        async def enter(page: Page) -> None:
            async with doors:
                await page.open(port)

        await asyncio.gather(*map(enter, self.all()))
        return time.monotonic() - began

    async def change(self, number: int) -> tuple[list[float], int]:
        """Pause or resume a tenant's job; return each page's delay, and who never told of it."""
        tenant = list(self.pages)[number // 2 % len(self.pages)]
        pages, is_paused = self.pages[tenant], number % 2 == 0
        await asyncio.to_thread(_set_paused, self.marked[tenant].id, is_paused)
        at = time.monotonic()
        while any(page.is_paused != is_paused for page in pages):
            if time.monotonic() > at + GIVEN_UP_S:
                break
            await asyncio.sleep(0.01)
        told = [page.turned_at - at for page in pages if page.is_paused == is_paused]
        return told, len(pages) - len(told)

    async def watched(self, changes: int) -> Figures:
        """Change what pages show, again and again; say how late they said so."""
        delays: list[float] = []
        untrue = 0
        for number in range(2 * changes):
            told, silent = await self.change(number)
            delays += told
            untrue += silent
        delays.sort()
        return {
            "true_s_max": round(delays[-1], 3) if delays else GIVEN_UP_S,
            "true_s_p50": round(delays[len(delays) // 2], 3) if delays else GIVEN_UP_S,
            "pages_untrue": untrue,
            "changes": 2 * changes,
        }


async def measure(
    platform: process_set.ProcessSet, options: argparse.Namespace, name: str = "dash"
) -> Figures:
    """Run the three phases."""
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
    before, alone = await bench.paced(*pace)
    opened_s = await dashboards.open(platform.web_port)
    sent = _sums(dashboards)
    (during, beside), true = await asyncio.gather(
        bench.paced(*pace), dashboards.watched(options.changes)
    )
    sent = _sums(dashboards) - sent
    await asyncio.gather(*(page.close() for page in dashboards.all()))
    after, again = await bench.paced(*pace)
    for one in fleet:
        one.wire.abort()
    await asyncio.to_thread(world.cancel_all)
    p99s = [bind.ms(waits, 0.99) for waits in (alone, beside, again)]
    return true | {
        "device_p99_ratio": round(p99s[1] * 2 / (p99s[0] + p99s[2]), 3),
        "device_p99_ms": p99s,
        "device_p50_ms": [bind.ms(waits, 0.5) for waits in (alone, beside, again)],
        "binds_per_s": [one["binds_per_s"] for one in (before, during, after)],
        "web_cpu_share": [_share(one, "web") for one in (before, during, after)],
        "gateway_cpu_share": [_share(one, "gateway") for one in (before, during, after)],
        "opened_s": round(opened_s, 2),
        "pushes_a_page": round(sent["messages"] / options.pages, 1),
        "kb_a_push": round(sent["bytes"] / max(1, sent["messages"]) / 1e3, 1),
        "pages": options.pages,
        "sockets": options.sockets,
    }


def _share(figures: Figures, process: str) -> float:
    """CPU seconds of a process by second."""
    ms_a_bind: float = figures["by_process"].get(process, 0.0)
    return round(ms_a_bind * float(figures["binds_per_s"]) / 1e3, 3)


def _sums(dashboards: Dashboards) -> Counter[str]:
    pages = dashboards.all()
    return Counter(messages=sum(p.messages for p in pages), bytes=sum(p.bytes for p in pages))


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
    parser.add_argument("--changes", type=int, default=CHANGES, help="pauses, each resumed")
    options = parser.parse_args()
    with process_set.running() as platform:
        figures = uvloop.run(measure(platform, options))
    print(result.line("dashboard", figures, TARGETS))


if __name__ == "__main__":
    main()
