"""What goes into a device's session: the world speaks. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from clients.software import Notice
from propius import wire


@dataclass(frozen=True, slots=True)
class Opened:
    """The websocket is open; ``nonce`` is fresh."""

    nonce: str


@dataclass(frozen=True, slots=True)
class Received:
    """A control message of the device."""

    message: wire.FromDevice


@dataclass(frozen=True, slots=True)
class ChunkReceived:
    """A binary frame of the device."""

    transfer: int
    offset: int
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Verified:
    """The hello is genuine. ``resume`` is what the device still holds."""

    resume: wire.Assignment | None = None


@dataclass(frozen=True, slots=True)
class HelloRefused:
    """The hello is not genuine, or names what is not allowed."""

    code: str
    message: str
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Noticed:
    """There is something to tell the device of its software, or nothing any more."""

    notice: Notice | None


@dataclass(frozen=True, slots=True)
class AttributesChanged:
    """The attributes of a check-in are valid and stand."""


@dataclass(frozen=True, slots=True)
class AttributesRefused:
    """The attributes of a check-in are not valid; the former ones stand."""

    message: str
    errors: dict[str, str]


@dataclass(frozen=True, slots=True)
class DemandOpened:
    """An idle device may be of use."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The device has an assignment; its row is committed."""

    assignment: wire.Assignment


@dataclass(frozen=True, slots=True)
class Offered:
    """Rounds whose private constraints the device must judge.

    ``is_told`` if it heard of them in an earlier exchange of one-shot mode.
    """

    offer: wire.Offer
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class NothingToBind:
    """No round takes the device now."""


@dataclass(frozen=True, slots=True)
class OfferExpired:
    """The device did not answer an offer in time."""

    offer: str


@dataclass(frozen=True, slots=True)
class UploadOpened:
    """There is a file to write the update to; it holds ``offset`` bytes already."""

    transfer: int
    offset: int


@dataclass(frozen=True, slots=True)
class ChunkWritten:
    """This many bytes of an upload have left memory."""

    transfer: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class UpdateAccepted:
    """The update or report is durable and counted."""

    assignment: str


@dataclass(frozen=True, slots=True)
class UpdateRefused:
    """The update or report is not taken. ``bound`` tells that its row still waits for one."""

    assignment: str
    code: str
    message: str
    errors: dict[str, str] = field(default_factory=dict)
    bound: bool = True


@dataclass(frozen=True, slots=True)
class LookedUp:
    """What became of an assignment that the session does not hold."""

    assignment: str
    was_reported: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The assignment is over for the platform."""

    assignment: str
    code: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Faulted:
    """The device broke the protocol or a limit outside of the session's sight."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """The device has a newer session."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """The device was shut out."""


@dataclass(frozen=True, slots=True)
class ComeBackLater:
    """This gateway cannot serve the device now."""

    after_s: float
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The websocket is gone."""


Event = (
    Opened
    | Received
    | ChunkReceived
    | Verified
    | Noticed
    | HelloRefused
    | AttributesChanged
    | AttributesRefused
    | DemandOpened
    | Bound
    | Offered
    | NothingToBind
    | OfferExpired
    | UploadOpened
    | ChunkWritten
    | UpdateAccepted
    | UpdateRefused
    | LookedUp
    | Cancelled
    | Faulted
    | Replaced
    | Revoked
    | ComeBackLater
    | Disconnected
)
