"""What goes into the session's state machine, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from propius import wire


@dataclass(frozen=True, slots=True)
class Finished:
    """A result that waits to be sent. ``digest`` is empty for an evaluation's report."""

    weight: float
    metrics: dict[str, float] = field(default_factory=dict)
    digest: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """Work that ended without a result; ``code`` is stable, ``message`` is for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why this device does not take something; ``message`` says nothing private."""

    code: str
    message: str


# --- events: the world speaks to the session ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """A websocket is open."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The websocket is gone; transfers on it have stopped."""


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A control message of the gateway."""

    message: wire.FromGateway


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """Bytes moved; ``done`` of ``total`` in all, counting what an earlier connection moved."""

    transfer: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class DownloadFinished:
    """A download ended: complete and verified, or with an error."""

    transfer: int
    error: Failed | None = None


@dataclass(frozen=True, slots=True)
class UploadFailed:
    """The waiting update cannot be read from disk."""

    transfer: int
    error: Failed


@dataclass(frozen=True, slots=True)
class Delivered:
    """The leaf has the update, or does not take it: the gateway knows which."""

    transfer: int


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The trainer got this far, in [0, 1]."""

    assignment: str
    fraction: float


@dataclass(frozen=True, slots=True)
class TrainingFinished:
    """The trainer ended, in time or not."""

    assignment: str
    outcome: Finished | Failed


@dataclass(frozen=True, slots=True)
class ConditionsChanged:
    """The owner's conditions cease to hold, or hold again (``refusal`` is ``None``).

    ``words`` say why, for the owner only; work in hand may pause for ``grace_s``.
    """

    refusal: Refusal | None
    words: str = ""
    grace_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Timer:
    """The time that :meth:`Session.wake_at` named has come."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The owner stops the agent."""


Event = (
    Connected
    | Disconnected
    | MessageReceived
    | TransferProgress
    | DownloadFinished
    | UploadFailed
    | Delivered
    | TrainingProgress
    | TrainingFinished
    | ConditionsChanged
    | Timer
    | StopRequested
)


# --- instructions: the session tells the world --------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send this control message."""

    message: wire.Message


@dataclass(frozen=True, slots=True)
class StartDownload:
    """Fetch a blob, unless it is cached; from the partial file's end if there is one.

    From the leaf first, if one is named.
    """

    assignment: str
    transfer: int
    blob: wire.Blob
    leaf: str = ""
    ticket: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send the waiting update to the leaf."""

    assignment: str
    transfer: int
    finished: Finished
    leaf: str
    ticket: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartUpload:
    """Send the waiting update from ``offset`` on, within ``credit`` bytes at first."""

    assignment: str
    transfer: int
    offset: int
    credit: int


@dataclass(frozen=True, slots=True)
class Train:
    """Run the assignment's workload; everything it needs has been downloaded.

    ``since_s`` is how long ago the assignment came, of which its deadline speaks.
    """

    assignment: wire.Assignment
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CancelTraining:
    """Stop the work on this assignment, if any, and its transfers."""

    assignment: str


@dataclass(frozen=True, slots=True)
class PauseWork:
    """Hold transfers and training still where they stand."""


@dataclass(frozen=True, slots=True)
class ResumeWork:
    """Go on where :class:`PauseWork` stopped."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete what is kept on disk for this assignment."""

    assignment: str


@dataclass(frozen=True, slots=True)
class ResetBackoff:
    """The connection proved good: the next break starts from the shortest wait again."""


@dataclass(frozen=True, slots=True)
class CloseAndRetry:
    """Close the connection; come back after ``after_s``, or after the usual back-off."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Close and do not come back: only a person can mend this."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """Log a dotted event with ids."""

    event: str
    fields: dict[str, object] = field(default_factory=dict)


Instruction = (
    Send
    | StartDownload
    | StartUpload
    | Deliver
    | Train
    | CancelTraining
    | PauseWork
    | ResumeWork
    | Forget
    | ResetBackoff
    | CloseAndRetry
    | Stop
    | Note
)
