"""What the connections of a gateway process share, and its background work."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from django.utils import timezone

from aggregation.under_way import Transfers
from core import connections, hints
from core.ids import uuid7
from gateway.binder import REDIS_AWAY, Binder
from gateway.channel import Channel
from gateway.hellos import Hellos
from gateway.idle import IdlePool
from gateway.leases import Leases
from gateway.metrics import IDLE
from gateway.presence import Presence
from gateway.reasons import Refusals
from gateway.registry import Registry
from gateway.signing import Signer
from gateway.software import Software
from gateway.states import HOLDING
from gateway.strangers import Strangers
from gateway.threads import Threads
from gateway.uploads import Desk
from jobs.constraints import Profile
from scheduling import binding, refusals

logger = logging.getLogger(__name__)

LOOK_S = 1.0
SLICE = 500
TELL_S = 0.05
RESTART_S = 1.0


class Hub:
    """One a process; made and ended on its event loop."""

    def __init__(self) -> None:
        self.identifier = str(uuid7())
        self.redis = connections.soft_state_async()
        self.threads = Threads()
        self.registry = Registry()
        self.idle = IdlePool()
        self.signer = Signer()
        self.scripts = binding.Binder(self.redis)
        self.leases = Leases(self.threads, self.registry)
        self.binder = Binder(self.scripts, self.signer, self.threads, self.leases)
        self.presence = Presence(self)
        self.software = Software(self)
        self.channel = Channel(self)
        self.hellos = Hellos(self.threads)
        self.desk = Desk(self.threads)
        self.transfers = Transfers()
        self._connected: list[tuple[str, str]] = []
        self.sockets = 0
        self.strangers = Strangers()
        self.is_draining = False
        self._new: dict[str, Profile] = {}
        self._check_ins: Counter[str] = Counter()
        self.refusals = Refusals()
        self._epoch = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._background: list[asyncio.Task[None]] = []
        self._redis_is_away = False
        self._planned = asyncio.Lock()
        self._signed = ""  # the version of groups that every device is signed under

    # --- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the background work; needs neither Redis nor Postgres yet."""
        for work in (
            self.binder.run,
            self.leases.run,
            self.presence.run,
            self.software.run,
            self.channel.run,
            self._look,
        ):
            self._background.append(asyncio.create_task(_forever(work)))

    async def stop(self) -> None:
        """End it; what moves rows is let finish."""
        running = set(self._background)
        while running:
            # More than once: Python 3.11's wait_for, and libraries that use it, lose a
            # cancellation that comes at the moment their wait ends.
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=1.0)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=5.0)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self.redis.aclose()
        await asyncio.get_running_loop().run_in_executor(None, self.threads.stop)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` and keep hold of it."""
        task = asyncio.create_task(work)
        self.adopt(task)
        return task

    def adopt(self, task: asyncio.Task[None]) -> None:
        """Keep hold of a task, and log what it did not expect."""
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("gateway.task_failed", exc_info=task.exception())

    # --- profiles and supply ------------------------------------------------------------------

    def profiled(self, profile: Profile) -> tuple[str, Profile]:
        """Return the key of a profile and the one object for it."""
        key, one, is_new = self.signer.intern(profile)
        if is_new:
            self._new[key] = one
        return key, one

    def count_check_in(self, profile_key: str) -> None:
        """Add to the supply; told at the next look."""
        self._check_ins[profile_key] += 1

    # --- the plan -----------------------------------------------------------------------------

    async def planned(self, notice: binding.PlanNotice) -> None:
        """Take a plan: sign anew if the groups have changed, then wake whom it may serve."""
        async with self._planned:
            if notice.groups != self.signer.groups.version:
                self.signer.change(await self.scripts.groups())
            await self._sign_all()
            if notice.epoch != self._epoch:
                self._epoch = notice.epoch
                self._new = self.signer.keep({one.profile_key for one in self.connections()})
            self.idle.plan(version=notice.version, epoch=notice.epoch, open_slots=dict(notice.open))

    async def _sign_all(self) -> None:
        """Sign for every device under the present groups, unless that was done.

        The binder may have heard of groups first, and may hear of newer ones meanwhile.
        """
        while self._signed != self.signer.groups.version:
            version = self.signer.groups.version
            for number, one in enumerate(self.connections()):
                one.sign()
                if number % SLICE == SLICE - 1:
                    await asyncio.sleep(0)  # thousands of sockets: the others must breathe
            self._signed = version

    def connections(self) -> list[Any]:
        """Return the connections of all devices that have signed in."""
        return list(self.registry.devices.values())

    def tell_connected(self, device: str, session_id: str) -> None:
        """Let other gateways close older sessions of the device; many are told of at once."""
        if not self._connected:
            self.spawn(self._tell_connected())
        self._connected.append((device, session_id))

    async def _tell_connected(self) -> None:
        await asyncio.sleep(TELL_S)
        found, self._connected = self._connected, []
        try:
            await self.redis.publish(hints.GATEWAYS, json.dumps({"connected": found}))
        except REDIS_AWAY as error:
            logger.info("gateway.connected_untold", extra={"reason": str(error)})

    async def _look(self) -> None:
        """Each second: beat, tell of supply, and look for a plan whose message was lost."""
        while True:
            try:
                await self._beat()
                notice = await self.scripts.plan()
                if notice is not None:
                    await self.planned(notice)
            except REDIS_AWAY as error:
                if not self._redis_is_away:
                    logger.warning("gateway.redis_away", extra={"reason": str(error)})
                self._redis_is_away = True
            else:
                self._redis_is_away = False
            await asyncio.sleep(LOOK_S)

    async def _beat(self) -> None:
        idle = self.idle.counts()
        IDLE.set(sum(idle.values()))
        busy = Counter(one.signature for one in self.connections() if one.session.state in HOLDING)
        new, self._new = self._new, {}
        try:
            await self.scripts.register_profiles(new)
        except REDIS_AWAY:
            self._new = new | self._new
            raise
        counts, self._check_ins = self._check_ins, Counter()
        await self.scripts.count_check_ins(counts)
        await refusals.note(self.redis, self.refusals.take(), now=timezone.now())
        await self.scripts.heartbeat(
            self.identifier,
            groups_version=self.signer.groups.version,
            sockets=self.sockets,
            idle=idle,
            busy=busy,
        )

    def register_all(self) -> None:
        """Tell the planner of all present profiles again at the next look."""
        self._new |= self.signer.keep({one.profile_key for one in self.connections()})


async def _forever(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            # The edge: one fault must not end a loop that thousands of devices wait on.
            logger.exception("gateway.background_failed")
            await asyncio.sleep(RESTART_S)
