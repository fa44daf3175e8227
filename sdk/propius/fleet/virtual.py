"""One virtual device: the agent's session and connection, with a life that is made up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from propius import constraints, wire
from propius.agent import connection as line
from propius.agent import events as ev
from propius.agent.connection import AgentStopped, Backoff, Connection, Unreachable
from propius.agent.introduction import Introduction
from propius.agent.session import Session
from propius.agent.uploads import Uploads
from propius.fleet import compute
from propius.fleet.availability import Trace
from propius.fleet.clock import Clock
from propius.fleet.compute import Compute
from propius.fleet.journal import Keeper
from propius.fleet.population import Phone, name_of
from propius.fleet.record import Record, Sight
from propius.fleet.shelf import Shelf
from propius.fleet.transfers import Downloads

log = logging.getLogger(__name__)
Sending = Callable[[bytes], Awaitable[None]]
AWAY_S = 600.0
"""How long a device that vanished stays away, on average, in simulated seconds."""


@dataclass(frozen=True, slots=True)
class World:
    """What all devices of a fleet share. ``dropout`` is the chance to vanish from an assignment."""

    gateway: str
    clock: Clock
    compute: Compute
    record: Record
    shelf: Shelf
    trace: Trace
    dropout: float = 0.0
    journal: Keeper = field(default_factory=Keeper)


class VirtualDevice:
    """Comes and goes by its trace; in between it is a device like any other."""

    __slots__ = (
        "_backoff", "_connection", "_downloads", "_leaving", "_retry_after_s", "_session",
        "_stopped", "_timer", "_uploads", "_working", "introduction", "name", "number", "phone",
        "rng", "seen", "world",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        phone: Phone,
        introduction: Introduction,
        world: World,
        rng: random.Random,
    ) -> None:
        self.number = number
        self.name = name_of(number)
        self.phone = phone
        self.introduction = introduction
        self.world = world
        self.rng = rng
        self.seen = Sight(world.record)
        self._backoff = Backoff(base_s=0.5, cap_s=30.0, rng=rng)
        self._session: Session | None = None
        self._connection: Connection | None = None
        self._downloads: Downloads | None = None
        self._uploads: Uploads | None = None
        self._working: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry_after_s: float | None = None
        self._stopped: ev.Stop | None = None
        self._leaving = asyncio.Event()

    async def live(self) -> None:
        """Follow the trace until cancelled, or until the platform refuses the device for good."""
        clock = self.world.clock
        for begins, ends in self.world.trace(self.rng):
            if ends <= clock.now():
                continue
            await clock.sleep(begins - clock.now())
            self.world.record.moved(online=1)
            try:
                await self._online(ends)
            finally:
                self.world.record.moved(online=-1)
            if self._stopped is not None:
                self.world.record.stopped[self._stopped.code] += 1
                log.error("%s %s", self.name, self._stopped.message)
                return

    # --- one session of the trace -------------------------------------------------------------

    async def _online(self, ends: float) -> None:
        clock = self.world.clock
        self._leaving.clear()
        self._session = Session(self.introduction, self._judge)
        leaving = asyncio.create_task(self._leave_at(ends))
        try:
            while clock.now() < ends and self._stopped is None and not self._leaving.is_set():
                wait_s = await self._connect()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), wait_s)
        except AgentStopped as error:
            self._stopped = ev.Stop(error.code, str(error))
        finally:
            leaving.cancel()
            self._drop()

    async def _leave_at(self, ends: float) -> None:
        await self.world.clock.sleep(ends - self.world.clock.now())
        self._leaving.set()
        self._apply(ev.StopRequested())
        if self._connection is not None:
            self._connection.close()

    async def _connect(self) -> float:
        self._retry_after_s = None
        try:
            socket = await line.open_socket(self.world.gateway)
        except Unreachable:
            self.seen.dialled(reached=False)
            return self._backoff.next()
        self.seen.dialled(reached=True)
        one = Connection(
            socket, on_message=self._received, on_chunk=self._received_chunk, counter=self.seen
        )
        self._connection = one
        self._downloads = self._downloads or Downloads(
            self.world.shelf, send=self._say, emit=self._apply, real_s=self._down_s
        )
        self._uploads = Uploads(send_frame=self._paced(one.send_frame), emit=self._apply)
        self._apply(ev.Connected())
        try:
            await one.run()
        except wire.ProtocolError as error:
            log.warning("%s %s", self.name, error)
        finally:
            self._downloads.stop()
            self._uploads.stop()
            self._connection = self._uploads = None
            self._apply(ev.Disconnected())
        if self._retry_after_s is not None:
            return self._backoff.spread(self._retry_after_s)
        return self._backoff.next()

    def _vanish(self) -> None:
        """Be gone in the midst of work, as a phone is whose owner takes it along."""
        self.seen.vanished()
        self._retry_after_s = self.world.clock.real(self.rng.expovariate(1 / AWAY_S))
        if self._connection is not None:
            self._connection.abort()
        self._session = Session(self.introduction, self._judge)

    def _drop(self) -> None:
        if self._working is not None:
            self._working.cancel()
            self._working = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.seen.holds(None)
        self._session = None

    # --- what the session says ----------------------------------------------------------------

    def _apply(self, event: ev.Event) -> None:
        session = self._session
        if session is None:
            return
        for instruction in session.handle(event, time.monotonic()):
            self._execute(instruction)
        work = session.bench.work
        self.seen.holds(work.assignment.id if work else None)
        self._arm()

    def _execute(self, instruction: ev.Instruction) -> None:
        match instruction:
            case ev.Send(message):
                self._say(message)
            case ev.StartDownload():
                if self._downloads is not None:
                    self._downloads.start(instruction)
            case ev.Train(assignment=assignment):
                self.seen.downloaded()
                self._working = asyncio.create_task(self._work(assignment))
            case ev.Deliver(transfer=transfer):
                # Virtual devices use no leaf: their bytes go over the session.
                told = ev.Delivered(transfer)
                asyncio.get_running_loop().call_soon(self._apply, told)
            case ev.StartUpload(assignment=assignment):
                if self._uploads is not None:
                    self._uploads.start(instruction, self.world.shelf.update_of(assignment))
            case ev.CancelTraining(assignment):
                self._cancel(assignment)
            case ev.Forget(assignment):
                self.world.shelf.forget(assignment)
            case ev.ResetBackoff():
                self._backoff.reset()
            case ev.CloseAndRetry(after_s=after_s):
                self._retry_after_s = after_s
                self._close()
            case ev.Stop():
                self._stopped = instruction
                self._close()
            case ev.Note():
                self.seen.noted(instruction)

    def _cancel(self, assignment: str) -> None:
        if self._working is not None:
            self._working.cancel()
        for transfers in (self._downloads, self._uploads):
            if transfers is not None:
                transfers.stop(assignment)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _say(self, message: wire.Message) -> None:
        self.seen.said(message)
        if self._connection is not None:
            self._connection.send(message)

    def _received(self, message: wire.FromGateway) -> None:
        self.seen.heard(message)
        if isinstance(message, wire.Credit) and self._uploads is not None:
            self._uploads.credit(message)
        self._apply(ev.MessageReceived(message))

    def _received_chunk(self, transfer: int, offset: int, payload: memoryview) -> None:
        if self._downloads is not None:
            self._downloads.receive(transfer, offset, payload)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        at = self._session.wake_at() if self._session is not None else None
        if at is not None:
            wait_s = max(0.0, at - time.monotonic())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(wait_s, self._apply, ev.Timer())

    # --- made up ------------------------------------------------------------------------------

    def _judge(self, asked: wire.Assignment | wire.Candidate) -> ev.Refusal | None:
        """Take every workload; only the phone's private data may speak against it."""
        private = {"examples": self.phone.examples}
        try:
            conditions = constraints.parse(asked.constraints)
        except constraints.ConstraintError:
            return ev.Refusal("unsupported", "a private constraint has a form not known here")
        if constraints.matches(conditions, private):
            return None
        return ev.Refusal("private_constraint", "a private constraint does not hold")

    async def _work(self, assignment: wire.Assignment) -> None:
        phone, world = self.phone, self.world
        if self.rng.random() < world.dropout:
            await world.clock.sleep(self.rng.random() * phone.examples * phone.speed_ms / 1000)
            self._vanish()
            return
        outcome: ev.Finished | ev.Failed
        try:
            done = await world.compute.run(self.name, phone, assignment)
            outcome = done.finished
            world.journal.done(assignment.id, self.number, done.finished.digest)
            if done.update is not None:
                world.shelf.keep(assignment.id, done.update, is_own=done.is_own)
        except Exception as error:  # noqa: BLE001 - told to the platform and counted
            outcome = compute.failure(error)
        self.seen.trained()
        self._apply(ev.TrainingFinished(assignment.id, outcome))

    def _down_s(self, size_bytes: int) -> float:
        return self.world.clock.real(size_bytes * 8 / 1000 / self.phone.down_kbps)

    def _paced(
        self, send: Callable[[bytes], Awaitable[None]]
    ) -> Callable[[bytes], Awaitable[None]]:
        async def paced(frame: bytes) -> None:
            await send(frame)
            await self.world.clock.sleep(len(frame) * 8 / 1000 / self.phone.up_kbps)

        return paced
