"""The agent's body: does what the session says, and tells it what happens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.client import ClientConnection

from propius import __version__, wire
from propius.agent import attributes, device, identity, work
from propius.agent import connection as line
from propius.agent.cache import DEFAULT_BYTES, BlobCache
from propius.agent.connection import AgentStopped, Backoff, Connection, Unreachable
from propius.agent.downloads import Downloads
from propius.agent.events import (
    CancelTraining,
    CloseAndRetry,
    Connected,
    Disconnected,
    Event,
    Forget,
    Instruction,
    MessageReceived,
    Note,
    ResetBackoff,
    Send,
    StartDownload,
    StartUpload,
    Stop,
    StopRequested,
    Timer,
    Train,
)
from propius.agent.execution import Execution
from propius.agent.introduction import Introduction
from propius.agent.pace import Pace
from propius.agent.session import Session
from propius.agent.spool import Spool
from propius.agent.trainer import Trainer
from propius.agent.uploads import Uploads

log = logging.getLogger(__name__)
LOUD = {"session.refused", "session.retry", "assignment.failed", "assignment.lost"}


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What differs between a device and the next.

    Parameters
    ----------
    slowdown
        At least 1. For demonstrations: after real training the agent waits so long that the whole
        took ``slowdown`` times as long, as a slower device would.
    attributes
        Public attributes in place of measured ones.
    programs
        Whether programs may run here, if torch is installed.
    cache_bytes
        Cap of the download cache.
    backoff_base_s, backoff_cap_s
        Shortest and longest wait between attempts to connect.
    """

    slowdown: float = 1.0
    attributes: Mapping[str, wire.Scalar] = field(default_factory=dict)
    programs: bool = True
    cache_bytes: int = DEFAULT_BYTES
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0


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
        self.device = device.load(home, programs=self.options.programs)
        self._clock = clock
        self._backoff = Backoff(
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
        self._connection: Connection | None = None
        self._downloads: Downloads | None = None
        self._uploads: Uploads | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry_after_s: float | None = None
        self._stopped: Stop | None = None
        self._dialling: asyncio.Task[ClientConnection] | None = None
        self._stopping = asyncio.Event()

    def _make_session(self) -> Session:
        one = self.device
        introduction = Introduction(
            device=one.enrolment.device,
            sdk=f"propius-python/{__version__}",
            attributes=attributes.collect(
                one.home, one.enrolment.attributes_schema, self.options.attributes
            ),
            workloads=one.workloads.offered(),
            sign=identity.load_key(one.home).sign,
        )
        waiting = self._spool.newest()
        held = work.held(*waiting, now=self._clock()) if waiting else None
        return Session(introduction, self._pace.judging(one.judge()), held=held)

    async def run(self) -> None:
        """Serve until :meth:`stop`.

        Raises
        ------
        AgentStopped
            Only a person can mend what is wrong; the text says how.
        """
        try:
            while not self._stopping.is_set():
                wait_s = await self._connect()
                if self._stopped is not None:
                    raise AgentStopped(self._stopped.code, self._stopped.message)
                if not self._stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), wait_s)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await self._execution.close()

    async def stop(self) -> None:
        """Give back what is held, say good-bye and let :meth:`run` return."""
        self._stopping.set()
        self._apply(StopRequested())
        if self._connection is not None:
            self._connection.close()
        elif self._dialling is not None:
            self._dialling.cancel()

    async def _connect(self) -> float:
        """Hold one connection for as long as it lasts; return how long to wait before the next."""
        self._retry_after_s = None
        gateway = self.device.enrolment.gateway
        self._dialling = dialling = asyncio.create_task(line.open_socket(gateway))
        try:
            socket = await dialling
        except Unreachable as error:
            wait_s = self._backoff.next()
            fields = {"reason": str(error), "retry_s": round(wait_s, 1)}
            self._log(Note("session.unreachable", fields), logging.WARNING)
            return wait_s
        except asyncio.CancelledError:
            if self._stopping.is_set():
                return 0.0
            raise
        connection = Connection(socket, on_message=self._received, on_chunk=self._received_chunk)
        self._connection = connection
        self._downloads = Downloads(self._cache, send=connection.send, emit=self._apply)
        self._uploads = Uploads(send_frame=connection.send_frame, emit=self._apply)
        self._apply(Connected())
        if self._stopping.is_set():
            connection.close()
        try:
            await connection.run()
        except wire.ProtocolError as error:
            self._log(Note("session.bad_frame", {"reason": str(error)}), logging.WARNING)
        finally:
            self._downloads.stop()
            self._uploads.stop()
            self._connection = self._downloads = self._uploads = None
            self._apply(Disconnected())
        if self._retry_after_s is not None:
            return self._backoff.spread(self._retry_after_s)
        return self._backoff.next()

    def _received(self, message: wire.FromGateway) -> None:
        if isinstance(message, wire.Credit) and self._uploads is not None:
            self._uploads.credit(message)
        if isinstance(message, wire.Accepted):
            self._spool.accepted(message.assignment)
        self._apply(MessageReceived(message))

    def _received_chunk(self, transfer: int, offset: int, payload: memoryview) -> None:
        if self._downloads is not None:
            self._downloads.receive(transfer, offset, payload)

    def _apply(self, event: Event) -> None:
        self._pace.saw(event, self._clock())
        for instruction in self.session.handle(event, self._clock()):
            self._execute(instruction)
        self._arm()

    def _execute(self, instruction: Instruction) -> None:
        match instruction:
            case Send(message):
                if self._connection is not None:
                    self._connection.send(message)
            case StartDownload():
                if self._downloads is not None:
                    self._downloads.start(instruction)
            case StartUpload(assignment=assignment):
                if self._uploads is not None:
                    self._uploads.start(instruction, self._spool.update(assignment))
            case Train(assignment, since_s):
                self._execution.start(assignment, since_s=since_s)
            case CancelTraining(assignment):
                self._cancel(assignment)
            case Forget(assignment):
                self._spool.forget(assignment)
            case ResetBackoff():
                self._backoff.reset()
            case CloseAndRetry(reason, after_s):
                self._log(Note("session.closing", {"reason": reason}), logging.WARNING)
                self._retry_after_s = after_s
                self._close()
            case Stop():
                self._stopped = instruction
                self._close()
            case Note():
                loud = instruction.event in LOUD
                self._log(instruction, logging.WARNING if loud else logging.INFO)

    def _cancel(self, assignment: str) -> None:
        self._execution.cancel(assignment)
        for transfers in (self._downloads, self._uploads):
            if transfers is not None:
                transfers.stop(assignment)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _arm(self) -> None:
        """Set the one timer of this agent to when the session next wants it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at = self.session.wake_at()
        if wake_at is not None and not self._stopping.is_set():
            delay = max(0.0, wake_at - self._clock())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay, self._apply, Timer())

    def _log(self, note: Note, level: int) -> None:
        fields = dict(note.fields)
        ids: dict[str, object] = {"device": self.device.enrolment.device}
        ids |= {key: fields.pop(key) for key in ("assignment", "job") if key in fields}
        words = " ".join(f"{key}={value}" for key, value in fields.items() if value not in ("", {}))
        log.log(
            level, "%s %s", note.event, words, extra={"device": self.device.enrolment.device, **ids}
        )
