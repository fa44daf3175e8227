"""A device's session: a synchronous state machine, typed events in, typed instructions out.

No I/O and no clock: the consumer carries out the instructions and reports what came of them.
``gateway.states`` lists the states, ``docs/protocol.md`` tells the order of messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway import reasons
from gateway.duty import Duty
from gateway.events import (
    AttributesChanged,
    AttributesRefused,
    Bound,
    Cancelled,
    ChunkReceived,
    ChunkWritten,
    ComeBackLater,
    DemandOpened,
    Disconnected,
    Event,
    Faulted,
    HelloRefused,
    LookedUp,
    NothingToBind,
    Noticed,
    Offered,
    OfferExpired,
    Opened,
    Received,
    Replaced,
    Revoked,
    UpdateAccepted,
    UpdateRefused,
    UploadOpened,
    Verified,
)
from gateway.instructions import (
    ChangeAttributes,
    ExpectChoice,
    Instruction,
    Park,
    RequestBind,
    RequestChoice,
    Verify,
)
from gateway.notices import Notices
from gateway.outbox import Outbox
from gateway.states import HOLDING, SIGNED_IN, State
from propius import wire


class Session:
    """The platform's side of one websocket.

    Parameters
    ----------
    identifier
        Named in the welcome; sorts by time, so that the newer of two is known.
    ping_s
        How often a silent device is asked to ping.
    """

    __slots__ = (
        "_nonce",
        "_notices",
        "_out",
        "_told_idle",
        "duty",
        "identifier",
        "offer",
        "ping_s",
    )

    def __init__(self, identifier: str, *, ping_s: float) -> None:
        self.identifier = identifier
        self.ping_s = ping_s
        self.offer: wire.Offer | None = None
        self._out = Outbox()
        self.duty = Duty(self._out)
        self._nonce = ""
        self._notices = Notices(self._out)
        self._told_idle = False

    @property
    def state(self) -> State:
        """Return how far the session has come."""
        return self._out.state

    @property
    def assignment(self) -> wire.Assignment | None:
        """Return what the device holds."""
        return self.duty.assignment

    def handle(self, event: Event) -> list[Instruction]:
        """Take one event; return what to do, in order."""
        self._out.instructions = []
        if self.state is State.CLOSED:
            if isinstance(event, Bound):
                self.duty.too_late(event.assignment)
        else:
            _EVENTS[type(event)](self, event)
        return self._out.instructions

    # --- signing in ---------------------------------------------------------------------------

    def _opened(self, event: Opened) -> None:
        self._nonce = event.nonce
        self._out.send(wire.Challenge(nonce=event.nonce, protocols=list(wire.SUPPORTED)))

    def _received(self, event: Received) -> None:
        message = event.message
        if isinstance(message, wire.Hello):
            self._hello(message)
        elif self.state not in SIGNED_IN:
            name = message.__struct_config__.tag
            self._out.fatal("out_of_order", f"{name} before the hello was answered")
        else:
            _MESSAGES[type(message)](self, message)

    def _hello(self, hello: wire.Hello) -> None:
        if self.state is not State.OPENED:
            self._out.fatal("out_of_order", "a second hello on one connection")
        elif hello.protocol not in wire.SUPPORTED:
            self._out.fatal(
                "protocol_unsupported",
                f"protocol {hello.protocol} is not spoken here; supported: "
                + ", ".join(map(str, wire.SUPPORTED)),
            )
        else:
            self._out.move(State.VERIFYING)
            self._out.do(Verify(hello, self._nonce))

    def _verified(self, event: Verified) -> None:
        name, ping_s = self.identifier, self.ping_s
        self._out.send(
            wire.Welcome(session=name, server="propius", ping_s=ping_s, resume=event.resume)
        )
        if event.resume is None:
            self._out.move(State.FREE)
        else:
            self.duty.resume(event.resume)

    def _hello_refused(self, event: HelloRefused) -> None:
        self._out.fatal(event.code, event.message, event.errors)

    # --- looking for a round ------------------------------------------------------------------

    def _check_in(self, message: wire.CheckIn) -> None:
        if self.state in (State.BINDING, State.HELD):
            return  # it crossed an assignment, or asks twice: the answer is under way
        if self.state in HOLDING:
            held = self.duty.held().id
            self._out.fatal("out_of_order", f"check_in while assignment {held} is in hand")
            return
        self.offer = None
        self._told_idle = False
        self._notices.tell()
        self._out.move(State.BINDING)
        if message.attributes is None:
            self._out.do(RequestBind())
        else:
            self._out.do(ChangeAttributes(message.attributes))

    def _attributes_refused(self, event: AttributesRefused) -> None:
        self._out.move(State.FREE)
        self._out.refuse("bad_attributes", event.message, None, event.errors)

    def _demand_opened(self, _: DemandOpened) -> None:
        if self.state is State.IDLE:
            self._out.move(State.BINDING)
            self._out.do(RequestBind())

    def _bound(self, event: Bound) -> None:
        if self.state is State.BINDING:
            self._told_idle = False
            self.duty.hold(event.assignment)
        else:
            self.duty.too_late(event.assignment)

    def _offered(self, event: Offered) -> None:
        if event.is_told and self.state is State.FREE:
            self._out.move(State.BINDING)
        if self.state is not State.BINDING:
            return
        offer = self.offer = event.offer
        self._told_idle = False
        self._out.move(State.CHOOSING)
        if not event.is_told:
            self._out.send(offer)
        self._out.do(ExpectChoice(offer.offer, offer.answer_s))

    def _choose(self, message: wire.Choose) -> None:
        offer = self.offer
        if offer is None or offer.offer != message.offer:
            if self.state is State.CHOOSING:
                self._out.fatal("out_of_order", f"choose for an unknown offer {message.offer}")
            return  # that offer ended while the answer was under way
        shown = {one.round for one in offer.candidates}
        unknown = [one for one in (*message.ranked, *message.refused) if one not in shown]
        if unknown:
            self._out.fatal("out_of_order", f"round {unknown[0]} was not offered")
            return
        self.offer = None
        if message.refused:
            self._out.do(reasons.of_choice(offer, message.refused))
        refused = reasons.lasting(message.refused)
        if message.ranked or refused:
            self._out.move(State.BINDING)
            self._out.do(RequestChoice(tuple(dict.fromkeys(message.ranked)), refused))
        else:
            self._park()

    def _offer_expired(self, event: OfferExpired) -> None:
        if self.offer is not None and self.offer.offer == event.offer:
            self.offer = None
            self._park()

    def _nothing_to_bind(self, _: NothingToBind) -> None:
        if self.state is State.BINDING:
            self._park()

    def _park(self) -> None:
        self._out.move(State.IDLE)
        if not self._told_idle:
            self._told_idle = True
            self._out.send(wire.Idle())
        self._notices.tell()
        self._out.do(Park())

    # --- ending -------------------------------------------------------------------------------

    def _leave(self, message: wire.Leave) -> None:
        self.duty.leave(message.code, "the device left")
        self._out.close(1000)

    def _replaced(self, _: Replaced) -> None:
        self._out.fatal("session_replaced", "this device has opened a newer session")

    def _revoked(self, _: Revoked) -> None:
        self.duty.leave("device_revoked", "the device was revoked")
        self._out.fatal("device_revoked", "this device was revoked; ask the pool's admin")

    def _faulted(self, event: Faulted) -> None:
        self._out.fatal(event.code, event.message)

    def _come_back_later(self, event: ComeBackLater) -> None:
        self._out.send(wire.Retry(after_s=event.after_s, code=event.code, message=event.message))
        self._out.close(1013)

    def _disconnected(self, _: Disconnected) -> None:
        self._out.move(State.CLOSED)


_EVENTS: dict[type, Callable[[Session, Any], None]] = {
    Opened: Session._opened,
    Received: Session._received,
    ChunkReceived: lambda session, event: session.duty.chunk(event),
    Verified: Session._verified,
    Noticed: lambda session, event: session._notices.take(event),
    HelloRefused: Session._hello_refused,
    AttributesChanged: lambda session, _: session._out.do(RequestBind()),
    AttributesRefused: Session._attributes_refused,
    DemandOpened: Session._demand_opened,
    Bound: Session._bound,
    Offered: Session._offered,
    NothingToBind: Session._nothing_to_bind,
    OfferExpired: Session._offer_expired,
    UploadOpened: lambda session, event: session.duty.upload_opened(event),
    ChunkWritten: lambda session, event: session.duty.chunk_written(event),
    UpdateAccepted: lambda session, event: session.duty.update_accepted(event),
    UpdateRefused: lambda session, event: session.duty.update_refused(event),
    LookedUp: lambda session, event: session.duty.looked_up(event),
    Cancelled: lambda session, event: session.duty.cancelled(event),
    Faulted: Session._faulted,
    Replaced: Session._replaced,
    Revoked: Session._revoked,
    ComeBackLater: Session._come_back_later,
    Disconnected: Session._disconnected,
}

_MESSAGES: dict[type, Callable[[Session, Any], None]] = {
    wire.CheckIn: Session._check_in,
    wire.Choose: Session._choose,
    wire.Ping: lambda session, _: session._out.send(wire.Pong()),
    wire.Leave: Session._leave,
    wire.Accept: lambda session, message: session.duty.accept(message),
    wire.Decline: lambda session, message: session.duty.give_up(message),
    wire.Fail: lambda session, message: session.duty.give_up(message),
    wire.Progress: lambda session, message: session.duty.progress(message),
    wire.Download: lambda session, message: session.duty.download(message),
    wire.Credit: lambda session, message: session.duty.credit(message),
    wire.Upload: lambda session, message: session.duty.upload(message),
    wire.Report: lambda session, message: session.duty.report(message),
}
