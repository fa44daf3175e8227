"""One assignment in the device's hands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from propius import wire
from propius.agent.events import Failed, Finished

Phase = Literal["downloading", "training", "evaluating", "uploading"]


class Stage(StrEnum):
    """Where an assignment stands; ``TRANSITIONS`` lists every allowed move."""

    DOWNLOADING = "downloading"
    WORKING = "working"
    FINISHED = "finished"
    SENDING = "sending"
    FAILED = "failed"


TRANSITIONS: dict[Stage, frozenset[Stage]] = {
    Stage.DOWNLOADING: frozenset({Stage.WORKING, Stage.FAILED}),
    Stage.WORKING: frozenset({Stage.FINISHED, Stage.FAILED}),
    Stage.FINISHED: frozenset({Stage.SENDING, Stage.FAILED}),
    # A broken connection takes it back: the result is announced again on the next one.
    Stage.SENDING: frozenset({Stage.FINISHED, Stage.FAILED}),
    Stage.FAILED: frozenset(),
}


@dataclass(slots=True)
class Work:
    """What the session knows of the assignment it holds.

    ``downloads`` maps a transfer of this connection to its blob, ``missing`` holds the digests
    still to fetch, ``upload`` is the transfer announced on this connection. ``announced`` stays
    true over a broken connection: the platform may have counted the result already. ``delivered``
    says that the leaf has had its try.
    """

    assignment: wire.Assignment
    taken_at: float
    stage: Stage = Stage.DOWNLOADING
    downloads: dict[int, wire.Blob] = field(default_factory=dict)
    missing: dict[str, wire.Blob] = field(default_factory=dict)
    mismatched: set[str] = field(default_factory=set)
    upload: int | None = None
    announced: bool = False
    fraction: float = 0.0
    progress_at: float = 0.0
    finished: Finished | None = None
    delivered: bool = False
    failure: Failed | None = None

    def move(self, stage: Stage) -> None:
        """Go to ``stage``; a move outside the table is a fault of ours."""
        if stage not in TRANSITIONS[self.stage]:
            raise AssertionError(f"{self.assignment.id}: {self.stage} to {stage} is no transition")
        self.stage = stage
        self.fraction = 0.0

    def blobs(self) -> dict[str, wire.Blob]:
        """Return what the assignment needs on disk, by digest."""
        return self.assignment.blobs()

    def phase(self) -> Phase:
        """Return the word for this stage in a progress message."""
        if self.stage is Stage.DOWNLOADING:
            return "downloading"
        if self.stage is Stage.WORKING:
            return "training" if self.assignment.kind == "train" else "evaluating"
        return "uploading"


def held(assignment: wire.Assignment, finished: Finished, *, now: float) -> Work:
    """Return the work of a result that an earlier process left on disk.

    It counts as announced: nobody knows how far that process came.
    """
    return Work(
        assignment=assignment,
        taken_at=now,
        stage=Stage.FINISHED,
        announced=True,
        finished=finished,
        progress_at=now,
    )
