"""The agent's body: does what the session says, and tells it what happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from propius import wire
from propius.agent import control, device, introduction, network, work
from propius.agent import events as ev
from propius.agent.attempts import Attempts, Later
from propius.agent.cache import BlobCache
from propius.agent.connection import AgentStopped
from propius.agent.execution import Execution
from propius.agent.log_format import LOUD, write_note
from propius.agent.open_line import OpenLine
from propius.agent.options import AgentOptions as AgentOptions
from propius.agent.pace import Pace
from propius.agent.recording import Recorder
from propius.agent.session import Session
from propius.agent.spool import Spool
from propius.agent.trainer import Trainer
from propius.agent.watch import Watch

log = logging.getLogger(__name__)


class Agent:
    """One device: connects, takes assignments, trains, reports; many fit in one event loop.

    Parameters
    ----------
    home
        The device's folder, enrolled; see :mod:`propius.agent.identity`.
    trainer
        Does the work; shared by the agents of a process.
    options
        See :class:`AgentOptions`.
    clock, rng
        Monotonic seconds, and the source of jitter; for tests.

    Raises
    ------
    IdentityError, OwnerFileError
        The folder is not enrolled, or one of the owner's files cannot be read.
    """

    def __init__(
        self,
        *,
        home: Path,
        trainer: Trainer,
        options: AgentOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.options = options or AgentOptions()
        self.device = device.load(
            home, programs=self.options.programs, handlers=self.options.handlers
        )
        self._clock = clock
        self._attempts = Attempts(
            self.device.home,
            self.device.enrolment,
            base_s=self.options.backoff_base_s,
            cap_s=self.options.backoff_cap_s,
            rng=rng or random.Random(),
        )
        folder = self.device.home
        self._spool = Spool(folder / "spool")
        self._cache = BlobCache(
            folder / "cache", folder / "partial", max_bytes=self.options.cache_bytes
        )
        self._cache.clear_partials()
        self._pace = Pace(folder / "pace.json")
        self.session = self._make_session()
        self._execution = Execution(
            trainer=trainer,
            spool=self._spool,
            cache=self._cache,
            device=self.device,
            slowdown=self.options.slowdown,
            pace=self._pace,
            emit=self._apply,
        )
        self._tls = network.trust(self.device.home)
        self._line: OpenLine | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry_after_s: float | None = None
        self._stopped: ev.Stop | None = None
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._recorder = Recorder(self.device.history)
        held = self.session.bench.work
        self._recorder.begin(held.assignment.id if held else None)
        self._watch = Watch(self.device, meter=self.options.meter, recorder=self._recorder)

    def _make_session(self) -> Session:
        waiting = self._spool.newest()
        held = work.held(*waiting, now=self._clock()) if waiting else None
        told = introduction.of(self.device, self.options.attributes)
        judge = self.device.judge(cache_bytes=self.options.cache_bytes)
        return Session(told, self._pace.judging(judge), held=held)

    async def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises
        ------
        AgentStopped
            Only a person can mend what is wrong; the text says how.
        IdentityError
            Another agent runs with this folder.
        """
        with control.running(self.device.home):
            watching = asyncio.create_task(self._watch.run(self))
            watching.add_done_callback(self._watch_ended)
            try:
                # Or it would take work only to decline it.
                await self._watch.looked.wait()
                await self._serve()
            finally:
                watching.cancel()
                if self._timer is not None:
                    self._timer.cancel()
                await self._execution.close()
                self._recorder.save()
                await asyncio.gather(watching, return_exceptions=True)

    async def _serve(self) -> None:
        while self._stopped is None and not self._stopping.is_set():
            wait_s = await self._connect()
            if self._stopped is None and not self._stopping.is_set():
                await self._rest(wait_s)
        if self._stopped is not None:
            raise AgentStopped(self._stopped.code, self._stopped.message)

    async def _rest(self, wait_s: float) -> None:
        """Wait, unless there is a reason to hurry."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), wait_s)
        self._hurry.clear()

    async def stop(self) -> None:
        """Give back what is held, say good-bye and let :meth:`run` return."""
        self._end()

    def _end(self) -> None:
        self._stopping.set()
        self._hurry.set()
        self._apply(ev.StopRequested())
        if self._line is not None:
            self._close()
        else:
            self._attempts.give_up()

    def _watch_ended(self, watching: asyncio.Task[None]) -> None:
        """Do not work on without anybody who looks at the owner's switches and conditions."""
        if not watching.cancelled() and (error := watching.exception()) is not None:
            log.error("watch.failed", exc_info=error)
            text = f"the owner's conditions cannot be looked at ({type(error).__name__}: {error})"
            self._stopped = ev.Stop("watch_failed", text)
            self._end()

    def conditions_changed(self, event: ev.ConditionsChanged) -> None:
        """See :class:`propius.agent.watch.Watched`."""
        self._apply(event)

    def left(self) -> None:
        """See :class:`propius.agent.watch.Watched`."""
        self._stopped = ev.Stop("left", "this device has left its pool, as its owner asked")
        self._end()

    def reconnect(self, reason: str) -> None:
        """See :class:`propius.agent.watch.Watched`."""
        self._log(ev.Note("session.reconnecting", {"reason": reason}), loud=True)
        self._attempts.reset()
        self._retry_after_s = 0.0
        self._hurry.set()
        if self._line is not None:
            self._line.connection.abort()

    def line_ends(self) -> tuple[Any, Any] | None:
        """See :class:`propius.agent.watch.Watched`."""
        return self._line.ends() if self._line is not None else None

    async def _connect(self) -> float:
        """Hold one connection for as long as it lasts; return how long to wait before the next."""
        self._retry_after_s = None
        await asyncio.to_thread(self.session.introduction.renew, self._clock())
        try:
            socket = await self._attempts.open(self._tls)
        except Later as later:
            return later.wait_s
        self._line = OpenLine(
            socket,
            cache=self._cache,
            spool=self._spool,
            counter=self._recorder,
            tls=self._tls,
            on_message=self._received,
            emit=self._apply,
        )
        if self.session.bench.paused:
            self._line.hold()
        self._apply(ev.Connected())
        if self._stopping.is_set():
            self._close()
        try:
            await self._line.run()
        except wire.ProtocolError as error:
            self._log(ev.Note("session.bad_frame", {"reason": str(error)}), loud=True)
        finally:
            self._line = None
            self._apply(ev.Disconnected())
        if self._retry_after_s is not None:
            return self._attempts.spread(self._retry_after_s)
        return self._attempts.next()

    def _received(self, message: wire.FromGateway) -> None:
        if isinstance(message, wire.Accepted):
            self._spool.accepted(message.assignment)
            again_s = introduction.AGAIN_S
            self.session.introduction.renew(self._clock(), after_s=again_s)
        self._apply(ev.MessageReceived(message))

    def _apply(self, event: ev.Event) -> None:
        self._pace.saw(event, self._clock())
        self._recorder.saw(event)
        instructions = self.session.handle(event, self._clock())
        in_hand = self.session.bench.work
        held = in_hand.assignment if in_hand else None
        self._cache.spare(held.blobs() if held else ())
        for instruction in instructions:
            self._recorder.did(instruction, held)
            self._execute(instruction)
        self._arm()

    def _execute(self, instruction: ev.Instruction) -> None:
        match instruction:
            case ev.Send(message):
                if self._line is not None:
                    self._line.connection.send(message)
            case ev.StartDownload() | ev.StartUpload() | ev.Deliver():
                if self._line is not None:
                    self._line.start(instruction)
            case ev.Train(assignment, since_s):
                self._execution.start(assignment, since_s=since_s)
            case ev.CancelTraining(assignment):
                self._cancel(assignment)
            case ev.PauseWork():
                self._execution.hold()
                if self._line is not None:
                    self._line.hold()
            case ev.ResumeWork():
                self._execution.go_on()
                if self._line is not None:
                    self._line.go_on()
            case ev.Forget(assignment):
                self._spool.forget(assignment)
            case ev.ResetBackoff():
                self._attempts.welcomed()
            case ev.CloseAndRetry(reason, after_s):
                self._log(ev.Note("session.closing", {"reason": reason}), loud=True)
                self._retry_after_s = after_s
                self._close()
            case ev.Stop():
                self._stopped = instruction
                self._close()
            case ev.Note():
                self._log(instruction, loud=instruction.event in LOUD)

    def _cancel(self, assignment: str) -> None:
        self._execution.cancel(assignment)
        if self._line is not None:
            self._line.stop(assignment)

    def _close(self) -> None:
        if self._line is not None:
            self._line.connection.close()

    def _arm(self) -> None:
        """Set the one timer of this agent to when the session next wants it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at = self.session.wake_at()
        if wake_at is not None and not self._stopping.is_set():
            delay = max(0.0, wake_at - self._clock())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay, self._apply, ev.Timer())

    def _log(self, note: ev.Note, *, loud: bool) -> None:
        write_note(log, note, device=self.device.enrolment.device, loud=loud)
