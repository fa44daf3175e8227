"""The device's session: a synchronous state machine, typed events in, typed instructions out.

No I/O and no clock: ``now`` is passed in, in seconds of any monotonic clock. One session lives as
long as the agent, over many connections, so that work goes on while the network is gone.
"""

from __future__ import annotations

from enum import StrEnum

from propius import wire
from propius.agent import refusals
from propius.agent.bench import Bench
from propius.agent.events import (
    CloseAndRetry,
    ConditionsChanged,
    Connected,
    Delivered,
    Disconnected,
    DownloadFinished,
    Event,
    Instruction,
    MessageReceived,
    ResetBackoff,
    StopRequested,
    Timer,
    TrainingFinished,
    TrainingProgress,
    TransferProgress,
    UploadFailed,
)
from propius.agent.introduction import Introduction
from propius.agent.outbox import Outbox
from propius.agent.pulse import Pulse
from propius.agent.refusals import Judge, Refusal
from propius.agent.work import Work

HANDSHAKE_S = 15.0
MAX_WAIT_S = 60.0


class Line(StrEnum):
    """How far this connection has come."""

    OFFLINE = "offline"
    GREETING = "greeting"
    PROVING = "proving"
    READY = "ready"


class Session:
    """The brain of one device.

    Parameters
    ----------
    introduction
        The device's id, key and public attributes.
    judge
        Decides what the owner and the data allow; see :mod:`propius.agent.judge`.
    held
        A finished result from an earlier process, to be sent.
    """

    def __init__(
        self, introduction: Introduction, judge: Judge, *, held: Work | None = None
    ) -> None:
        self.introduction = introduction
        self.verdicts = refusals.Verdicts(judge)
        self.line = Line.OFFLINE
        self.declines = 0
        self.faults = refusals.Faults()
        self._pulse = Pulse()
        self._out = Outbox()
        self.bench = Bench(self._out, held)
        self._check_in_at: float | None = None
        self._unwilling: Refusal | None = None

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take one event; return what to do, in order."""
        self._out.open(now)
        online = self.line is Line.READY
        match event:
            case MessageReceived(message):
                self._pulse.heard(now)
                self._message(message)
            case Connected():
                self.line = Line.GREETING
                self._out.spoke_at = now
                self._pulse.heard(now)
            case Disconnected():
                self.line = Line.OFFLINE
                self._check_in_at = None
                self.bench.disconnected()
            case TransferProgress() | Delivered():
                self._pulse.heard(now)
                self.bench.transferred(event)
            case DownloadFinished():
                if self.bench.downloaded(event, online=online):
                    self._over(later=True)
            case UploadFailed(transfer, error):
                if self.bench.upload_failed(transfer, error):
                    self._over(later=True)
            case TrainingProgress(assignment, fraction):
                self.bench.training(assignment, fraction)
            case TrainingFinished():
                if self.bench.trained(event, online=online):
                    self._over(later=True)
            case ConditionsChanged():
                self._conditions_changed(event, online=online)
            case Timer():
                self._timer(now)
            case StopRequested():
                self._stop_requested()
        return self._out.instructions

    def wake_at(self) -> float | None:
        """Return when the session next wants a :class:`Timer`, or ``None`` for never."""
        if self.line is Line.OFFLINE:
            return self.bench.ends_at()
        if self.line is not Line.READY:
            return self._pulse.heard_at + HANDSHAKE_S
        ping_at = self._pulse.due(self._out.spoke_at)
        due = [ping_at, self._check_in_at, self.bench.progress_at(), self.bench.give_back_at]
        return min(at for at in due if at is not None)

    def _message(self, message: wire.FromGateway) -> None:
        match message:
            case wire.Challenge():
                self._challenged(message)
            case wire.Welcome():
                self._welcomed(message)
            case wire.Assignment():
                self._assigned(message)
            case wire.Offer():
                self._offered(message)
            case wire.UploadReady():
                self.bench.upload_ready(message)
            case wire.Accepted() | wire.Cancelled():
                self._ended(message)
            case wire.Refused():
                self._was_refused(message)
            case wire.Retry(after_s=after_s, code=code, message=text):
                self._out.note("session.retry", code=code, message=text, after_s=after_s)
                self._out.do(CloseAndRetry(code, max(0.0, after_s)))
            case wire.Idle() | wire.Pong() | wire.Credit():
                pass

    def _challenged(self, message: wire.Challenge) -> None:
        if self.line is not Line.GREETING:
            return
        if wire.PROTOCOL not in message.protocols:
            self._out.do(refusals.stop(refusals.unsupported(message.protocols)))
            return
        self.line = Line.PROVING
        self._out.send(self.introduction.hello(message.nonce))

    def _welcomed(self, message: wire.Welcome) -> None:
        if self.line is not Line.PROVING:
            return
        self.line = Line.READY
        self._pulse.ping_s = max(1.0, message.ping_s)
        self._out.do(ResetBackoff())
        self._out.note("session.ready", session=message.session)
        work, resume = self.bench.work, message.resume
        if resume is not None and not self.bench.holds(resume.id):
            self.bench.drop()
            self._take(resume)
        elif work is None:
            self._check_in()
        elif resume is not None:
            if self.bench.resume():
                self._over(later=True)
        elif work.announced and work.finished is not None:
            # The lease may have ended because the result was counted: ask, it is idempotent.
            self.bench.announce()
        else:
            self._out.note("assignment.lost", assignment=work.assignment.id)
            self._over()

    def _assigned(self, assignment: wire.Assignment) -> None:
        if self.line is not Line.READY or self.bench.holds(assignment.id):
            return
        if self.bench.work is not None:
            busy = f"this device works on {self.bench.work.assignment.id}"
            self._out.send(wire.Decline(assignment=assignment.id, code="busy", message=busy))
            return
        self._take(assignment)

    def _take(self, assignment: wire.Assignment) -> None:
        self._check_in_at = None
        refusal = self._unwilling or self.verdicts.of(assignment)
        if refusal is None:
            self.bench.take(assignment)
            return
        self._out.send(
            wire.Decline(assignment=assignment.id, code=refusal.code, message=refusal.message)
        )
        self._out.note("assignment.declined", assignment=assignment.id, code=refusal.code)
        self._check_in_later()

    def _offered(self, offer: wire.Offer) -> None:
        now = Refusal("busy", "") if self.bench.work is not None else self._unwilling
        verdicts = {one.round: now or self.verdicts.of(one) for one in offer.candidates}
        ranked = [identifier for identifier, refusal in verdicts.items() if refusal is None]
        refused = {identifier: one.code for identifier, one in verdicts.items() if one is not None}
        for code, message in {(one.code, one.message) for one in verdicts.values() if one}:
            self._out.note("offer.refused", code=code, reason=message)
        self._out.send(wire.Choose(offer=offer.offer, ranked=ranked[:32], refused=refused))

    def _ended(self, message: wire.Accepted | wire.Cancelled) -> None:
        if not self.bench.holds(message.assignment):
            return
        if isinstance(message, wire.Accepted):
            self.declines = self.faults.count = 0
            self._out.note("assignment.accepted", assignment=message.assignment)
        else:
            self._out.note("assignment.cancelled", assignment=message.assignment, code=message.code)
        self._over()

    def _was_refused(self, message: wire.Refused) -> None:
        # Too late for a round that asked for more devices than it needs: nobody's fault.
        late = message.code == "round_closed"
        event = "assignment.late" if late else "session.refused"
        said = {"code": message.code, "message": message.message, "errors": message.errors}
        self._out.note(event, assignment=message.assignment or "", **said)
        if message.fatal:
            self._faulted(message)
        elif message.assignment is None:
            if self.bench.work is None and self.line is Line.READY:
                self._check_in_later()
        elif self.bench.holds(message.assignment):
            self._over(later=True)

    def _faulted(self, message: wire.Refused) -> None:
        answer = self.faults.answer(message, self._out.now)
        if message.code in refusals.PROTOCOL and isinstance(answer, CloseAndRetry):
            # Something said or heard was wrong: start afresh, without the work that led to it.
            self.bench.drop()
        self._out.do(answer)

    def _timer(self, now: float) -> None:
        if self.bench.overdue() and self.bench.give_back(online=self.line is Line.READY):
            self._over()
        if self.line is Line.OFFLINE:
            self.bench.give_up()
        elif self.line is not Line.READY:
            if now >= self._pulse.heard_at + HANDSHAKE_S:
                self._out.do(CloseAndRetry("the gateway does not answer"))
        else:
            self._ready_timer(now)

    def _ready_timer(self, now: float) -> None:
        if self._check_in_at is not None and now >= self._check_in_at:
            self._check_in()
        progress_at = self.bench.progress_at()
        if progress_at is not None and now >= progress_at:
            self.bench.progress()
        if now >= self._pulse.due(self._out.spoke_at):
            if self._pulse.pinged_at is not None:
                self._out.do(CloseAndRetry("the gateway fell silent"))
                return
            self._pulse.pinged(now)
            self._out.send(wire.Ping())

    def _conditions_changed(self, event: ConditionsChanged, *, online: bool) -> None:
        was, self._unwilling = self._unwilling, event.refusal
        self._out.note("conditions.changed", reason=event.words)
        if event.refusal is not None:
            self.bench.pause(event.grace_s)
        elif was is not None:
            self.bench.go_on(online=online)
            if online and self.bench.work is None:
                self._check_in()

    def _stop_requested(self) -> None:
        work = self.bench.work
        if work is not None and work.finished is not None:
            # It stays on disk and keeps its lease: the next start sends it.
            return
        self.bench.drop()
        if self.line is Line.READY:
            self._out.send(wire.Leave())

    def _over(self, *, later: bool = False) -> None:
        """Let the assignment go and ask for the next one."""
        self.bench.drop()
        if later:
            self._check_in_later()
        else:
            self._check_in()

    def _check_in(self) -> None:
        self._check_in_at = None
        if self._unwilling is None:
            self._out.send(self.introduction.check_in())

    def _check_in_later(self) -> None:
        """Wait longer with each refusal in a row: the same round may be all there is."""
        self.declines += 1
        self._check_in_at = self._out.now + min(MAX_WAIT_S, 0.5 * 2.0 ** min(self.declines, 10))
