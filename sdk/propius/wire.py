"""Messages between a device and a gateway: JSON control frames and binary chunk frames.

Control messages are text frames, each one JSON object whose ``type`` names it. Tensors travel in
binary frames, each a 16-byte header and at most :data:`MAX_CHUNK` bytes. Durations are seconds,
never clock times, so that a device with a wrong clock works. ``docs/protocol.md`` says the order.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal, TypeVar

import msgspec

PROTOCOL = 1
SUPPORTED = (1,)
SUBPROTOCOL = "propius.v1"
MAX_CONTROL = 64 * 1024
MAX_CHUNK = 256 * 1024
WINDOW = 1024 * 1024
"""Bytes that a sender may have under way before the receiver returns credit."""

CHUNK_HEADER = struct.Struct("!BxxxIQ")
CHUNK_KIND = 1

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Text = Annotated[str, msgspec.Meta(max_length=500)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
T = TypeVar("T")
Scalar = float | int | str | bool


class ProtocolError(ValueError):
    """A frame that the protocol does not allow; ``code`` is stable, the text is for people."""

    def __init__(self, message: str, *, code: str = "bad_frame") -> None:
        super().__init__(message)
        self.code = code


class Message(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True
):
    """Base of every control message."""


# --- the device speaks ------------------------------------------------------------------------


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """First message of a device, in answer to :class:`Challenge`.

    ``signature`` is Ed25519 in hex over ``proof(nonce, device)``. ``workloads`` maps a workload
    kind (``program``, ``handler``) to what the device can run: program format versions, handler
    names. ``attributes`` are public; private values never leave the device.
    """

    protocol: int
    device: Id
    signature: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}$", max_length=128)]
    sdk: Name
    attributes: dict[Name, Scalar]
    workloads: dict[Name, list[str]]


class CheckIn(Message, frozen=True, kw_only=True, tag="check_in"):
    """The device is free and willing. ``attributes`` replaces the public attributes if given."""

    attributes: dict[Name, Scalar] | None = None


class Choose(Message, frozen=True, kw_only=True, tag="choose"):
    """Answer to :class:`Offer`: the rounds the device would take, best first; empty for none.

    ``refused`` names the others with a reason code: ``private_constraint``, ``consent``,
    ``dataset``, ``condition``, ``unsupported``.
    """

    offer: Id
    ranked: Annotated[list[Id], msgspec.Meta(max_length=32)]
    refused: dict[Id, Name] = {}


class Accept(Message, frozen=True, kw_only=True, tag="accept"):
    """First word on an assignment: the device takes it."""

    assignment: Id


class Decline(Message, frozen=True, kw_only=True, tag="decline"):
    """The device gives the assignment back untouched."""

    assignment: Id
    code: Name
    message: Text = ""


class Fail(Message, frozen=True, kw_only=True, tag="fail"):
    """The device took the assignment and could not finish it."""

    assignment: Id
    code: Name
    message: Text = ""


class Progress(Message, frozen=True, kw_only=True, tag="progress"):
    """Renews the lease. ``fraction`` in [0, 1] of ``phase``."""

    assignment: Id
    phase: Literal["downloading", "training", "evaluating", "uploading"]
    fraction: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0


class Download(Message, frozen=True, kw_only=True, tag="download"):
    """Asks for a blob of the assignment from ``offset`` on, with ``credit`` bytes of window."""

    assignment: Id
    transfer: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    digest: Digest
    offset: Size = 0
    credit: Size = WINDOW


class Credit(Message, frozen=True, kw_only=True, tag="credit"):
    """The receiver of a transfer (either side) has taken this many bytes more."""

    transfer: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    size_bytes: Size


class Upload(Message, frozen=True, kw_only=True, tag="upload"):
    """Announces an update: its encoded size, digest, weight and metrics."""

    assignment: Id
    transfer: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    digest: Digest
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
    weight: Annotated[float, msgspec.Meta(gt=0, le=1e9)]
    metrics: dict[Name, float] = {}


class Report(Message, frozen=True, kw_only=True, tag="report"):
    """Result without tensors, of an evaluation round."""

    assignment: Id
    weight: Annotated[float, msgspec.Meta(gt=0, le=1e9)]
    metrics: dict[Name, float]


class Ping(Message, frozen=True, kw_only=True, tag="ping"):
    """Keeps an idle connection open; answered by :class:`Pong`."""


class Leave(Message, frozen=True, kw_only=True, tag="leave"):
    """The device goes. What it holds is given back at once."""

    code: Name = "leaving"


# --- the gateway speaks -----------------------------------------------------------------------


class Challenge(Message, frozen=True, kw_only=True, tag="challenge"):
    """First message on a connection: 32 random bytes in hex, used once."""

    nonce: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
    protocols: list[int]


class Blob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something to download: content digest (SHA-256) and size."""

    digest: Digest
    size_bytes: Size


class Assignment(Message, frozen=True, kw_only=True, tag="assignment"):
    """One device bound to one round.

    ``workload`` is the job's workload section as normalised by :mod:`propius.spec`;
    ``constraints`` its private constraints, evaluated on the device. ``start_s`` is the time to
    the first :class:`Accept`, ``lease_s`` the longest silence after it, ``deadline_s`` what is
    left of the round.
    """

    id: Id
    job: Id
    job_name: str
    tenant: str
    round: Id
    number: int
    attempt: int
    kind: Literal["train", "evaluate"]
    workload: dict[str, Any]
    constraints: dict[str, Any]
    parameters: Blob
    program: Blob | None
    codec: str
    max_update_bytes: int
    seed: int
    start_s: float
    lease_s: float
    deadline_s: float
    ticket: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A round shown to a device that may take it."""

    round: Id
    job: Id
    tenant: str
    kind: str
    workload: dict[str, Any]
    constraints: dict[str, Any]


class Offer(Message, frozen=True, kw_only=True, tag="offer"):
    """Rounds whose private constraints only the device can judge; answered by :class:`Choose`."""

    offer: Id
    candidates: list[Candidate]
    answer_s: float


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The device is known. ``resume`` is the assignment it still holds, if any."""

    session: Id
    server: str
    ping_s: float
    resume: Assignment | None = None


class Idle(Message, frozen=True, kw_only=True, tag="idle"):
    """Nothing to do now: stay connected; an assignment or offer is pushed when demand opens."""


class Retry(Message, frozen=True, kw_only=True, tag="retry"):
    """Come back after ``after_s``; the gateway closes."""

    after_s: float
    code: str
    message: str


class UploadReady(Message, frozen=True, kw_only=True, tag="upload_ready"):
    """Send the update from ``offset`` on; ``credit`` bytes of window."""

    transfer: int
    offset: Size
    credit: Size


class Accepted(Message, frozen=True, kw_only=True, tag="accepted"):
    """The update (or report) is durable and counted."""

    assignment: Id


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """What was asked is refused. ``assignment`` tells what is over, if anything.

    ``errors`` name fields (tensor names, attribute names) with what is wrong and allowed.
    """

    code: Name
    message: str
    assignment: Id | None = None
    errors: dict[str, str] = {}
    fatal: bool = False


class Cancelled(Message, frozen=True, kw_only=True, tag="cancelled"):
    """The assignment is over for the server: round closed, job cancelled or paused, lease out."""

    assignment: Id
    code: Name
    message: str = ""


class Pong(Message, frozen=True, kw_only=True, tag="pong"):
    """Answer to :class:`Ping`."""


FromDevice = (
    Hello
    | CheckIn
    | Choose
    | Accept
    | Decline
    | Fail
    | Progress
    | Download
    | Credit
    | Upload
    | Report
    | Ping
    | Leave
)
FromGateway = (
    Challenge
    | Welcome
    | Assignment
    | Offer
    | Idle
    | Retry
    | UploadReady
    | Credit
    | Accepted
    | Refused
    | Cancelled
    | Pong
)

_encoder = msgspec.json.Encoder()
_from_device: msgspec.json.Decoder[FromDevice] = msgspec.json.Decoder(FromDevice)
_from_gateway: msgspec.json.Decoder[FromGateway] = msgspec.json.Decoder(FromGateway)


def encode(message: Message) -> str:
    """Return the text frame of a control message."""
    return _encoder.encode(message).decode()


def decode_from_device(text: str | bytes) -> FromDevice:
    """Parse a control frame that a device sent.

    Raises
    ------
    ProtocolError
        Too long, not JSON, an unknown type or field, or a value out of range; the message names
        the field.
    """
    return _decode(_from_device, text)


def decode_from_gateway(text: str | bytes) -> FromGateway:
    """Parse a control frame that a gateway sent. Raises as :func:`decode_from_device`."""
    return _decode(_from_gateway, text)


def _decode(decoder: msgspec.json.Decoder[T], text: str | bytes) -> T:
    if len(text) > MAX_CONTROL:
        raise ProtocolError(
            f"control frame of {len(text)} bytes; at most {MAX_CONTROL} allowed", code="too_long"
        )
    try:
        return decoder.decode(text)
    except RecursionError as error:
        raise ProtocolError("nested too deeply", code="bad_message") from error
    except msgspec.ValidationError as error:
        raise ProtocolError(str(error), code="bad_message") from error
    except msgspec.DecodeError as error:
        raise ProtocolError(f"not JSON: {error}", code="bad_frame") from error


def proof(nonce: str, device: str) -> bytes:
    """Return the bytes a device signs at hello: the protocol's name, the nonce and its id."""
    return b"propius hello v1\n" + nonce.encode() + b"\n" + device.encode()


def pack_chunk(transfer: int, offset: int, payload: bytes | memoryview) -> bytes:
    """Return a binary frame: kind, transfer number, offset of its first byte, payload."""
    return CHUNK_HEADER.pack(CHUNK_KIND, transfer, offset) + payload


def unpack_chunk(frame: bytes) -> tuple[int, int, memoryview]:
    """Split a binary frame into (transfer, offset, payload).

    Raises
    ------
    ProtocolError
        Shorter than its header, of an unknown kind, empty, or over :data:`MAX_CHUNK`.
    """
    size = len(frame) - CHUNK_HEADER.size
    if size < 1:
        raise ProtocolError(f"chunk frame of {len(frame)} bytes has no payload")
    if size > MAX_CHUNK:
        raise ProtocolError(f"chunk of {size} bytes; at most {MAX_CHUNK} allowed", code="too_long")
    kind, transfer, offset = CHUNK_HEADER.unpack_from(frame)
    if kind != CHUNK_KIND:
        raise ProtocolError(f"binary frame of kind {kind}; only {CHUNK_KIND} (chunk) is known")
    return transfer, offset, memoryview(frame)[CHUNK_HEADER.size :]
