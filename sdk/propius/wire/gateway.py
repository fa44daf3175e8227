"""What a gateway says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from propius.wire.device import Credit
from propius.wire.fields import Digest, Id, Message, Name, Size

LONGEST_S = 1e9
Left = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_S)]
"""A duration; 0 where there is no time left."""


class Challenge(Message, frozen=True, kw_only=True, tag="challenge"):
    """First message on a connection: 32 random bytes in hex, used once."""

    nonce: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
    protocols: list[int]


class Blob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something to download: content digest (SHA-256) and size."""

    digest: Digest
    size_bytes: Size


class Assignment(Message, frozen=True, kw_only=True, tag="assignment", omit_defaults=True):
    """One device bound to one round.

    ``workload`` is the job's workload section as normalised by :mod:`propius.spec`;
    ``constraints`` its private constraints, evaluated on the device. ``start_s`` is the time to
    the first :class:`Accept`, ``lease_s`` the longest silence after it, ``deadline_s`` what is
    left of the round. ``leaf`` is the URL of a leaf that serves the HTTP data plane nearer by.
    ``frozen`` are tensors that the program needs beside the parameters and that never change: keep
    them by their digest, and send none of them back. ``control`` is the server's control variate,
    ``<name>/control`` for each tensor, of a job that trains with ``control_variates``; before the
    first step of the model it is zero. These three are left out where there are none.
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
    start_s: Left
    lease_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_S)]
    deadline_s: Left
    ticket: str
    leaf: Annotated[str, msgspec.Meta(max_length=200)] = ""
    frozen: Blob | None = None
    control: Blob | None = None

    def blobs(self) -> dict[str, Blob]:
        """Return what the device needs on disk, by digest."""
        named = (self.parameters, self.program, self.frozen, self.control)
        return {one.digest: one for one in named if one is not None}


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
