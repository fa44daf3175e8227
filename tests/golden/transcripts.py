"""Makes the golden transcripts from both real sessions: ``python -m tests.golden.transcripts``.

A line is ``{"from": "device" | "gateway", "message": …}``, or ``"chunk"`` with transfer, offset and
size; in one-shot mode a request's words and its answer, each a list of messages. Keys, nonces and
ids are fixed, so the signatures are good ones.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway import events as ge
from gateway import instructions as gi
from gateway.session import Session as GatewaySession
from propius import wire
from propius.agent import events as de
from propius.agent.introduction import Introduction
from propius.agent.session import Session
from propius.conformance.gateway import DEVICE, assignment, tensors
from propius.conformance.sockets import offer

HERE = Path(__file__).resolve().parent
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ME = Introduction(DEVICE, "golden 1", {"memory_mb": 4096}, {"handler": ["add_one"]}, KEY.sign)
MODEL = tensors(300_000, 1.0)
UPDATE = tensors(300_000, 2.0)
CHUNK = 262_144
Line = dict[str, Any]


def plain(message: wire.Message) -> Any:
    return json.loads(wire.encode(message))


def judge(asked: wire.Assignment | wire.Candidate) -> de.Refusal | None:
    """Refuse what asks for more than the ten examples that the device has."""
    if asked.constraints.get("examples", {}).get("min", 0) > 10:
        return de.Refusal("private_constraint", "a private constraint does not hold")
    return None


class Talk:
    """Both ends on a line, one message after the other."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.now = 0.0
        self.device = Session(ME, judge)
        self.gateway = GatewaySession("s0", ping_s=20.0)
        self.binds: deque[ge.Event] = deque()
        self.verdict: ge.Event | None = None
        self.resume: wire.Assignment | None = None
        self._to_gateway: deque[Any] = deque()
        self._to_device: deque[Any] = deque()
        self.sessions = 0

    def connect(self) -> None:
        self.sessions += 1
        self.gateway = GatewaySession(f"s{self.sessions}", ping_s=20.0)
        self.tell_device(de.Connected())
        nonce = hashlib.sha256(f"nonce {self.sessions}".encode()).hexdigest()
        self.tell_gateway(ge.Opened(nonce))
        self.pump()

    def cut(self) -> None:
        self.tell_gateway(ge.Disconnected())
        self._to_gateway.clear()
        self._to_device.clear()
        self.tell_device(de.Disconnected())

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.tell_device(de.Timer())
        self.pump()

    def pump(self) -> None:
        while self._to_gateway or self._to_device:
            if self._to_gateway:
                one = self._to_gateway.popleft()
                is_chunk = isinstance(one, ge.ChunkReceived)
                self.tell_gateway(one if is_chunk else ge.Received(one))
            else:
                self._device_hears(self._to_device.popleft())

    def tell_gateway(self, event: ge.Event) -> None:
        for one in self.gateway.handle(event):
            self._gateway_does(one)

    def tell_device(self, event: de.Event) -> None:
        for one in self.device.handle(event, self.now):
            self._device_does(one)

    # --- what they do -------------------------------------------------------------------------

    def _gateway_does(self, one: gi.Instruction) -> None:
        match one:
            case gi.Send(message):
                self._note("gateway", message=plain(message))
                self._to_device.append(message)
            case gi.Verify():
                self.tell_gateway(ge.Verified(self.resume))
            case gi.RequestBind() | gi.RequestChoice():
                self.tell_gateway(self.binds.popleft() if self.binds else ge.NothingToBind())
            case gi.StartDownload(transfer=transfer, offset=offset):
                for start in range(offset, len(MODEL), CHUNK):
                    part = MODEL[start : start + CHUNK]
                    self._note("gateway", chunk=_chunk(transfer, start, part))
                    self._to_device.append((transfer, len(part), start + len(part) == len(MODEL)))
            case gi.StartUpload(upload):
                self.tell_gateway(ge.UploadOpened(upload.transfer, 0))
            case gi.WriteChunk(transfer, payload):
                self.tell_gateway(ge.ChunkWritten(transfer, len(payload)))
            case gi.FinishUpload() | gi.StoreReport():
                assert self.verdict is not None
                self.tell_gateway(self.verdict)

    def _device_hears(self, one: Any) -> None:
        if not isinstance(one, tuple):
            self.tell_device(de.MessageReceived(one))
            return
        transfer, size, is_last = one
        if is_last:
            self.tell_device(de.DownloadFinished(transfer))
        else:
            self._says(wire.Credit(transfer=transfer, size_bytes=size))

    def _device_does(self, one: de.Instruction) -> None:
        match one:
            case de.Send(message):
                self._says(message)
            case de.StartDownload(assignment=identifier, transfer=transfer, blob=blob):
                order = wire.Download(assignment=identifier, transfer=transfer, digest=blob.digest)
                self._says(order)
            case de.StartUpload(transfer=transfer, offset=offset):
                for start in range(offset, len(UPDATE), CHUNK):
                    part = UPDATE[start : start + CHUNK]
                    self._note("device", chunk=_chunk(transfer, start, part))
                    self._to_gateway.append(ge.ChunkReceived(transfer, start, memoryview(part)))

    def _says(self, message: wire.Message) -> None:
        self._note("device", message=plain(message))
        self._to_gateway.append(message)

    def _note(self, who: str, **what: Any) -> None:
        self.lines.append({"from": who, **what})

    # --- what a day brings --------------------------------------------------------------------

    def push(self, *given: ge.Event) -> None:
        """Demand opens; what is asked for is answered by these."""
        self.binds.extend(given)
        self.tell_gateway(ge.DemandOpened())
        self.pump()

    def train(self, identifier: str, verdict: ge.Event) -> None:
        self.verdict = verdict
        self.later(8.0)  # a progress is due
        digest = hashlib.sha256(UPDATE).hexdigest()
        done = de.Finished(10.0, {"loss": 0.5}, digest, len(UPDATE))
        self.tell_device(de.TrainingFinished(identifier, done))
        self.pump()


def _chunk(transfer: int, offset: int, part: bytes) -> Line:
    return {"transfer": transfer, "offset": offset, "size_bytes": len(part)}


def given(number: int, **changes: Any) -> wire.Assignment:
    return assignment(MODEL, id=f"a{number}", job=f"j{number}", **changes)


def socket() -> list[Line]:
    """A day on websockets, with every message there is."""
    talk = Talk()
    talk.connect()
    talk.later(21.0)  # silence: ping
    talk.push(ge.Offered(offer()), ge.Bound(given(1)))
    talk.train("a1", ge.UpdateAccepted("a1"))
    talk.push(ge.Bound(given(2, kind="evaluate")))
    talk.verdict = ge.UpdateAccepted("a2")
    talk.tell_device(de.TrainingFinished("a2", de.Finished(10.0, {"loss": 0.4})))
    talk.pump()
    talk.push(ge.Bound(given(3, constraints={"examples": {"min": 50}})))  # declined
    talk.later(2.0)
    talk.push(ge.Bound(given(4)))
    failed = de.Failed("training_failed", "the work failed on this device")
    talk.tell_device(de.TrainingFinished("a4", failed))
    talk.pump()
    talk.later(4.0)
    talk.push(ge.Bound(given(5)))
    errors = {"tensors.weight": "has a value that is not finite"}
    talk.train("a5", ge.UpdateRefused("a5", "not_finite", "the update is not finite", errors))
    talk.later(8.0)
    talk.push(ge.Bound(given(6)))
    talk.tell_gateway(ge.Cancelled("a6", "round_closed", "the round has closed"))
    talk.pump()
    talk.push(ge.Bound(given(7)))
    talk.cut()
    talk.resume = given(7)
    talk.connect()
    talk.train("a7", ge.UpdateAccepted("a7"))
    talk.tell_gateway(ge.ComeBackLater(30.0, "busy", "many devices sign in at once"))
    talk.pump()
    talk.cut()
    talk.resume = None
    talk.connect()
    talk.tell_device(de.StopRequested())
    talk.pump()
    return talk.lines


class Visits:
    """Exchanges of one-shot mode: a gateway's session for each."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.resume: wire.Assignment | None = None

    def say(self, *words: wire.Message, answer: ge.Event | None = None) -> None:
        number = len(self.lines) + 1
        nonce, following = (
            hashlib.sha256(f"visit {at}".encode()).hexdigest() for at in (number, number + 1)
        )
        said = "\n".join(map(wire.encode, words)).encode()
        signed = f"{nonce} {hashlib.sha256(said).hexdigest()}"
        hello = ME.hello(signed)
        session = GatewaySession(f"v{number}", ping_s=20.0)
        told: list[wire.Message] = []

        def tell(event: ge.Event) -> None:
            for one in session.handle(event):
                match one:
                    case gi.Send(message):
                        told.append(message)
                    case gi.Verify():
                        tell(ge.Verified(self.resume))
                    case gi.RequestBind() | gi.RequestChoice() | gi.StoreReport() | gi.LookUp():
                        tell(answer or ge.NothingToBind())

        tell(ge.Opened(signed))
        tell(ge.Received(hello))
        for word in words:
            if isinstance(word, wire.Choose):
                tell(ge.Offered(offer(), is_told=True))
            tell(ge.Received(word))
        self._note(nonce, following, [hello, *words], told[1:])

    def _note(
        self, nonce: str, following: str, said: Sequence[wire.Message], told: list[wire.Message]
    ) -> None:
        idle = wire.Retry(after_s=60.0, code="idle", message="no round for this device now")
        answers = [idle if isinstance(one, wire.Idle) else one for one in told]
        answers.append(wire.Challenge(nonce=following, protocols=[1]))
        self.lines.append(
            {"nonce": nonce, "words": list(map(plain, said)), "answer": list(map(plain, answers))}
        )


def once() -> list[Line]:
    """What one-shot mode says: bytes go by the data plane."""
    talk = Visits()
    talk.say(wire.CheckIn())
    talk.say(wire.CheckIn(), answer=ge.Offered(offer()))
    choice = wire.Choose(offer="o1", ranked=["r1"], refused={"r0": "private_constraint"})
    talk.say(choice, answer=ge.Bound(given(1)))
    talk.resume = given(1)
    talk.say(wire.Accept(assignment="a1"))
    talk.say(wire.Progress(assignment="a1", phase="training", fraction=0.5))
    talk.say()
    talk.say(wire.Fail(assignment="a1", code="training_failed"))
    talk.resume = given(2)
    talk.say(wire.Decline(assignment="a2", code="condition"))
    talk.resume = given(3, kind="evaluate")
    report = wire.Report(assignment="a3", weight=10.0, metrics={"loss": 0.4})
    talk.say(report, answer=ge.UpdateAccepted("a3"))
    talk.resume = None
    talk.say(wire.Progress(assignment="a3", phase="training"))  # over: refused as stale
    talk.say(report, answer=ge.LookedUp("a3", was_reported=True))
    return talk.lines


TRANSCRIPTS = {"socket.jsonl": socket, "once.jsonl": once}


def text(lines: list[Line]) -> str:
    return "".join(json.dumps(one) + "\n" for one in lines)


if __name__ == "__main__":
    for name, make in TRANSCRIPTS.items():
        (HERE / name).write_text(text(make()))
