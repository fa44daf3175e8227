"""What comes out of a device's session: it tells its connection what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from propius import wire


@dataclass(frozen=True, slots=True)
class Send:
    """Send this control message."""

    message: wire.Message


@dataclass(frozen=True, slots=True)
class Close:
    """Close the websocket after what has been sent."""

    code: int


@dataclass(frozen=True, slots=True)
class Verify:
    """Check the hello's signature over the nonce; look up what the device holds."""

    hello: wire.Hello
    nonce: str


@dataclass(frozen=True, slots=True)
class ChangeAttributes:
    """Check these attributes and put them in place of the former ones."""

    attributes: dict[str, wire.Scalar]


@dataclass(frozen=True, slots=True)
class RequestBind:
    """Ask for a round."""


@dataclass(frozen=True, slots=True)
class RequestChoice:
    """Ask for the first of ``ranked`` that is still open; never show ``refused`` again."""

    ranked: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoteRefusals:
    """The device refused these jobs, each with a known code."""

    reasons: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Park:
    """Wait among the idle devices."""


@dataclass(frozen=True, slots=True)
class ExpectChoice:
    """Say :class:`OfferExpired` after this time."""

    offer: str
    answer_s: float


@dataclass(frozen=True, slots=True)
class AcceptAssignment:
    """Note that the device took the assignment."""

    assignment: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Free the slot."""

    assignment: str
    status: Literal["declined", "failed"]
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class RenewLease:
    """The device works."""

    assignment: str
    phase: str
    fraction: float


@dataclass(frozen=True, slots=True)
class StartDownload:
    """Send a blob of the assignment, from ``offset`` on, within the credit."""

    assignment: str
    transfer: int
    blob: wire.Blob
    offset: int
    credit: int


@dataclass(frozen=True, slots=True)
class AddCredit:
    """The device has taken bytes of a download."""

    transfer: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StartUpload:
    """Open a file for the announced update."""

    upload: wire.Upload


@dataclass(frozen=True, slots=True)
class WriteChunk:
    """Append to the upload's file."""

    transfer: int
    payload: memoryview


@dataclass(frozen=True, slots=True)
class FinishUpload:
    """After the last chunk: check, make durable, count."""

    transfer: int


@dataclass(frozen=True, slots=True)
class StoreReport:
    """Count a result without tensors."""

    report: wire.Report


@dataclass(frozen=True, slots=True)
class StopTransfers:
    """The assignment is over: end its transfers, and drop what was uploaded of it."""

    assignment: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """Find out what became of an assignment that the session does not hold."""

    assignment: str


Instruction = (
    Send
    | Close
    | Verify
    | ChangeAttributes
    | RequestBind
    | RequestChoice
    | NoteRefusals
    | Park
    | ExpectChoice
    | AcceptAssignment
    | GiveBack
    | RenewLease
    | StartDownload
    | AddCredit
    | StartUpload
    | WriteChunk
    | FinishUpload
    | StoreReport
    | StopTransfers
    | LookUp
)
