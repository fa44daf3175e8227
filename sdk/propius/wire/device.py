"""What a device says."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from propius.wire.fields import WINDOW, Digest, Id, Message, Name, Scalar, Size, Text


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
    workloads: dict[Name, list[Name]]


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
