"""Plays the device's lines of a transcript to the gateway's session, whatever made them once."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from gateway import events as ge
from gateway import instructions as gi
from gateway.session import Session
from propius import wire

Line = dict[str, Any]
DONE: dict[str, type] = {"cancelled": ge.Cancelled, "retry": ge.ComeBackLater}


class Replay:
    """A gateway that meets what the transcript's met; it must say what that one said."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._sessions = 0
        self._session = Session("", ping_s=20.0)
        self._said: deque[Line] = deque()
        self._looked_up = False
        self._offer: wire.Offer | None = None
        self.heard = 0

    def play(self, lines: Iterable[Line]) -> None:
        """Raise AssertionError where the gateway says anything else than the lines."""
        for line in lines:
            if line["from"] == "device":
                self._device(line)
            elif "message" in line:
                self._expect(line["message"])
        assert not self._said, f"said too much: {self._said}"

    def _device(self, line: Line) -> None:
        self.heard += 1
        if "chunk" in line:
            part = line["chunk"]
            payload = memoryview(bytes(part["size_bytes"]))
            self._tell(ge.ChunkReceived(part["transfer"], part["offset"], payload))
            return
        message = wire.decode_from_device(json.dumps(line["message"]))
        if isinstance(message, wire.Choose) and self._session.offer is None:
            assert self._offer is not None
            self._tell(ge.Offered(self._offer, is_told=True))
        self._tell(ge.Received(message))

    def _expect(self, message: Line) -> None:
        if not self._said:
            for event in self._causes(message):
                self._tell(event)
        said = self._said.popleft()
        if message["type"] == "challenge":
            assert set(said.pop("protocols")) >= {1}
            message = {name: value for name, value in message.items() if name != "protocols"}
        assert said == message

    def _tell(self, event: ge.Event) -> None:
        for one in self._session.handle(event):
            match one:
                case gi.Send(message):
                    self._said.append(json.loads(wire.encode(message)))
                case gi.WriteChunk(transfer, payload):
                    self._tell(ge.ChunkWritten(transfer, len(payload)))
                case gi.LookUp():
                    self._looked_up = True

    def _causes(self, message: Line) -> Iterator[ge.Event]:
        """Yield what makes a gateway say this."""
        plain = {name: value for name, value in message.items() if name != "type"}
        match message["type"]:
            case "challenge":
                self._sessions += 1
                self._session = Session(f"{self._prefix}{self._sessions}", ping_s=20.0)
                yield ge.Opened(message["nonce"])
            case "welcome":
                resume = message["resume"]
                yield ge.Verified(_assignment(resume) if resume else None)
            case "idle":
                yield ge.NothingToBind()
            case "offer":
                offer = wire.decode_from_gateway(json.dumps(message))
                assert isinstance(offer, wire.Offer)
                self._offer = offer
                yield ge.DemandOpened()
                yield ge.Offered(offer)
            case "assignment":
                yield ge.DemandOpened()
                yield ge.Bound(_assignment(message))
            case "upload_ready":
                yield ge.UploadOpened(message["transfer"], message["offset"])
            case "accepted" if self._looked_up:
                yield ge.LookedUp(message["assignment"], was_reported=True)
            case "accepted":
                yield ge.UpdateAccepted(message["assignment"])
            case "refused":
                del plain["fatal"]
                yield ge.UpdateRefused(**plain)
            case known:
                yield DONE[known](**plain)


def _assignment(message: Line) -> wire.Assignment:
    found = wire.decode_from_gateway(json.dumps(message))
    assert isinstance(found, wire.Assignment)
    return found


def as_lines(visits: Iterable[Line]) -> Iterator[Line]:
    """Return the visits of one-shot mode as lines of a socket each."""
    for visit in visits:
        hello, *words = visit["words"]
        said = "\n".join(json.dumps(one, separators=(",", ":")) for one in words)
        nonce = f"{visit['nonce']} {hashlib.sha256(said.encode()).hexdigest()}"
        challenge = {"type": "challenge", "nonce": nonce, "protocols": [1]}
        welcome, *answers = visit["answer"][:-1]
        yield {"from": "gateway", "message": challenge}
        yield {"from": "device", "message": hello}
        yield {"from": "gateway", "message": welcome}
        yield from ({"from": "device", "message": one} for one in words)
        for one in answers:
            waits = (one["type"], one.get("code")) == ("retry", "idle")
            yield {"from": "gateway", "message": {"type": "idle"} if waits else one}
