"""The device's session against the gateway's, over a line that breaks anywhere; no network.

A seeded world delivers messages, finishes work, cancels rounds and cuts the line in any order.
Whatever happens: the gateway never calls the device out of order, nothing is counted twice, and
once the line holds, work goes on.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest

from gateway import events as ge
from gateway import instructions as gi
from gateway.session import Session as GatewaySession
from propius import wire
from propius.agent import events as de
from propius.agent.introduction import Introduction
from propius.agent.session import Line, Session
from tests.unit.sdk.agent.scripted import NONCE, assignment

SIZE = 10


class World:
    """Both ends, the line between them, and the platform's memory of one device."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        introduction = Introduction("d1", "sdk", {}, {}, lambda data: bytes(64))
        self.device = Session(introduction, lambda asked: None)
        self.gateway: GatewaySession | None = None
        self.now = 0.0
        self.up: deque[Any] = deque()
        self.down: deque[Any] = deque()
        self.device_effects: list[de.Event] = []
        self.gateway_effects: list[Any] = []
        self.bound: wire.Assignment | None = None
        self.made = 0
        self.counted: list[str] = []
        self.lost = 0
        self.fatal: list[wire.Refused] = []

    # --- the device's end ---

    def device_event(self, event: de.Event) -> None:
        for one in self.device.handle(event, self.now):
            match one:
                case de.Send(message) if self.gateway is not None:
                    self.up.append(message)
                case de.StartDownload(assignment=identifier, transfer=transfer, blob=blob):
                    self.up.append(
                        wire.Download(assignment=identifier, transfer=transfer, digest=blob.digest)
                    )
                case de.StartUpload(transfer=transfer, offset=offset):
                    self.up.append((transfer, offset))
                case de.Train(work):
                    done = (
                        de.Finished(1.0, {}, "d" * 64, SIZE)
                        if work.kind == "train"
                        else de.Finished(1.0)
                    )
                    self.device_effects.append(de.TrainingFinished(work.id, done))
                case de.CancelTraining(identifier):
                    self.device_effects = [
                        effect
                        for effect in self.device_effects
                        if getattr(effect, "assignment", None) != identifier
                    ]
                case de.CloseAndRetry() | de.Stop():
                    self.cut()

    # --- the gateway's end ---

    def gateway_event(self, event: ge.Event) -> None:
        session = self.gateway
        assert session is not None
        for one in session.handle(event):
            match one:
                case gi.Send(message):
                    if isinstance(message, wire.Refused) and message.fatal:
                        self.fatal.append(message)
                    self.down.append(message)
                case gi.GiveBack(assignment=identifier):
                    if self.bound is not None and self.bound.id == identifier:
                        self.bound = None
                case gi.StartDownload(transfer=transfer):
                    self.down.append(transfer)
                case (
                    gi.Verify()
                    | gi.RequestBind()
                    | gi.StartUpload()
                    | gi.FinishUpload()
                    | gi.StoreReport()
                    | gi.LookUp()
                ):
                    self.gateway_effects.append(one)

    def gateway_effect(self, effect: Any) -> None:
        match effect:
            case gi.Verify():
                self.gateway_event(ge.Verified(self.bound))
            case gi.RequestBind():
                if self.rng.random() < 0.2:
                    self.gateway_event(ge.NothingToBind())
                    return
                self.made += 1
                kind = self.rng.choice(["train", "evaluate"])
                self.bound = assignment(f"a{self.made}", kind=kind)
                self.gateway_event(ge.Bound(self.bound))
            case gi.StartUpload(upload):
                offset = self.rng.choice([0, 4, SIZE])
                self.gateway_event(ge.UploadOpened(upload.transfer, offset))
            case gi.FinishUpload() | gi.StoreReport():
                if self.bound is not None:
                    identifier = self.bound.id
                    self.counted.append(identifier)
                    self.bound = None
                    self.gateway_event(ge.UpdateAccepted(identifier))
            case gi.LookUp(identifier):
                self.gateway_event(ge.LookedUp(identifier, identifier in self.counted))

    # --- the line ---

    def connect(self) -> None:
        self.gateway = GatewaySession("s", ping_s=30.0)
        self.device_event(de.Connected())
        self.gateway_event(ge.Opened(NONCE))

    def cut(self) -> None:
        if self.gateway is None:
            return
        self.gateway_event(ge.Disconnected())
        self.gateway = None
        # What is being counted is counted; nobody hears of it.
        for effect in self.gateway_effects:
            done = isinstance(effect, gi.FinishUpload | gi.StoreReport)
            if done and self.bound is not None and self.rng.random() < 0.5:
                self.counted.append(self.bound.id)
                self.bound = None
        self.gateway_effects.clear()
        self.up.clear()
        self.down.clear()
        self.device_event(de.Disconnected())
        if self.bound is not None and self.rng.random() < 0.2:
            self.bound = None  # its lease ended meanwhile
            self.lost += 1

    def deliver_up(self) -> None:
        item = self.up.popleft()
        if isinstance(item, tuple):
            transfer, offset = item
            if offset < SIZE:
                payload = memoryview(bytes(SIZE - offset))
                self.gateway_event(ge.ChunkReceived(transfer, offset, payload))
        else:
            self.gateway_event(ge.Received(item))

    def deliver_down(self) -> None:
        item = self.down.popleft()
        if isinstance(item, int):
            self.device_event(de.DownloadFinished(item))
        else:
            self.device_event(de.MessageReceived(item))

    def cancel(self) -> None:
        counting = any(
            isinstance(effect, gi.FinishUpload | gi.StoreReport) for effect in self.gateway_effects
        )
        if self.bound is not None and self.gateway is not None and not counting:
            identifier, self.bound = self.bound.id, None
            self.lost += 1
            self.gateway_event(ge.Cancelled(identifier, "round_closed"))

    def step(self, *, trouble: bool) -> None:
        if self.gateway is None:
            self.connect()
            return
        moves: list[Any] = []
        if self.up:
            moves += [self.deliver_up] * 6
        if self.down:
            moves += [self.deliver_down] * 6
        if self.device_effects:
            chosen = self.device_effects[0]
            moves += [lambda: self.device_event(self.device_effects.pop(0))] * 3
            assert chosen
        if self.gateway_effects:
            moves += [lambda: self.gateway_effect(self.gateway_effects.pop(0))] * 3
        if trouble:
            moves += [self.cut, self.cancel]
        if not moves or self.rng.random() < 0.05:
            wake_at = self.device.wake_at()
            self.now = max(self.now, wake_at if wake_at is not None else self.now)
            moves = [lambda: self.device_event(de.Timer())]
            if self.gateway.state == "idle":
                moves = [lambda: self.gateway_event(ge.DemandOpened())]
        self.rng.choice(moves)()


@pytest.mark.parametrize("seed", range(10))
def test_any_order_of_breaks_and_cancels_is_survived(seed: int) -> None:
    world = World(seed)
    for _ in range(800):
        world.step(trouble=True)
        assert not world.fatal, world.fatal
    assert len(world.counted) == len(set(world.counted)), "counted twice"
    counted = len(world.counted)
    for _ in range(400):
        world.step(trouble=False)
        assert not world.fatal, world.fatal
    assert len(world.counted) > counted + 10, "work goes on once the line holds"
    assert len(world.counted) == len(set(world.counted))
    assert world.device.line is Line.READY
