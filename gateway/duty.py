"""The part of a session that deals with the one assignment in hand.

Every method adds instructions to the outbox; none does I/O. A message about another assignment
is stale, not a fault: it may have crossed the end of that assignment on the way.
"""

from __future__ import annotations

from gateway import reasons
from gateway.events import (
    Cancelled,
    ChunkReceived,
    ChunkWritten,
    LookedUp,
    UpdateAccepted,
    UpdateRefused,
    UploadOpened,
)
from gateway.instructions import (
    AcceptAssignment,
    AddCredit,
    FinishUpload,
    GiveBack,
    LookUp,
    RenewLease,
    StartDownload,
    StartUpload,
    StopTransfers,
    StoreReport,
    WriteChunk,
)
from gateway.outbox import Outbox
from gateway.states import HOLDING, State
from gateway.window import ChunkRefused, Window
from propius import wire


class Duty:
    """Holds at most one assignment, and the window of its upload."""

    __slots__ = ("_accepted", "_ended", "_ended_transfer", "_out", "assignment", "window")

    def __init__(self, out: Outbox) -> None:
        self._out = out
        self.assignment: wire.Assignment | None = None
        self.window: Window | None = None
        self._accepted = False
        self._ended = ""
        self._ended_transfer = -1

    def held(self) -> wire.Assignment:
        """Return the assignment in hand; there must be one."""
        assert self.assignment is not None
        return self.assignment

    def hold(self, assignment: wire.Assignment) -> None:
        """Give the device a new assignment."""
        self._take(assignment)
        self._out.move(State.HELD)
        self._out.send(assignment)

    def resume(self, assignment: wire.Assignment) -> None:
        """Carry on with what the device held on an earlier connection.

        It may have accepted then or accept now: both are right.
        """
        self._take(assignment)
        self._out.move(State.WORKING)

    def too_late(self, assignment: wire.Assignment) -> None:
        """Give back what was bound for a device that no longer waits here.

        A lost connection is no reason: it finds the assignment when it comes back.
        """
        if self._out.state is not State.CLOSED or self._ended == "left":
            self._give_back(assignment.id, "declined", "gone", "the device no longer waited")

    def leave(self, code: str, message: str) -> None:
        """Give back whatever is in hand, as the device goes for good."""
        if self.assignment is not None:
            identifier, begun = self.assignment.id, self._out.state is not State.HELD
            self._drop()
            self._give_back(identifier, "failed" if begun else "declined", code, message)
        self._ended = "left"

    # --- the device speaks --------------------------------------------------------------------

    def accept(self, message: wire.Accept) -> None:
        """Begin. Said twice, it means the same."""
        if not self._is_current(message.assignment):
            return
        if self._out.state is State.HELD:
            self._out.move(State.WORKING)
        if not self._accepted:
            self._accepted = True
            self._out.do(AcceptAssignment(message.assignment))

    def give_up(self, message: wire.Decline | wire.Fail) -> None:
        """Take the assignment back, untouched or unfinished."""
        if not self._is_current(message.assignment):
            return
        if self._out.state is State.REPORTING:
            return  # its result is being counted: that answer stands
        status = "declined" if isinstance(message, wire.Decline) else "failed"
        if status == "declined":
            self._out.do(reasons.of_decline(self.held(), message.code))
        self._over()
        self._give_back(message.assignment, status, message.code, message.message)

    def progress(self, message: wire.Progress) -> None:
        """Renew the lease."""
        if self._is_begun(message.assignment, "progress"):
            self._out.do(RenewLease(message.assignment, message.phase, message.fraction))

    def download(self, message: wire.Download) -> None:
        """Send a blob that belongs to the assignment, and no other."""
        if not self._is_begun(message.assignment, "download"):
            return
        held = self.held()
        blobs = held.blobs()
        blob = blobs.get(message.digest)
        if blob is None:
            text = f"{message.digest} is not of assignment {held.id}; allowed: {', '.join(blobs)}"
            self._out.fatal("digest_unknown", text)
        elif message.offset > blob.size_bytes:
            self._out.fatal(
                "offset_mismatch",
                f"download from byte {message.offset}; the blob has {blob.size_bytes}",
            )
        else:
            self._out.do(
                StartDownload(held.id, message.transfer, blob, message.offset, message.credit)
            )

    def credit(self, message: wire.Credit) -> None:
        """Hand credit on; that of a transfer which has just ended finds nobody."""
        self._out.do(AddCredit(message.transfer, message.size_bytes))

    def upload(self, message: wire.Upload) -> None:
        """Get ready for an update, or tell what became of an earlier one."""
        if self._is_result_of_current(message, "train"):
            held = self.held()
            if message.size_bytes > held.max_update_bytes:
                self._refuse(
                    "too_large",
                    f"the update has {message.size_bytes} bytes; "
                    f"at most {held.max_update_bytes} are allowed",
                )
                return
            self._out.move(State.UPLOADING)
            self.window = Window(message.transfer, message.size_bytes)
            self._out.do(StartUpload(message))

    def report(self, message: wire.Report) -> None:
        """Count a result without tensors, or tell what became of an earlier one."""
        if self._is_result_of_current(message, "evaluate"):
            self._out.move(State.REPORTING)
            self._out.do(StoreReport(message))

    def chunk(self, event: ChunkReceived) -> None:
        """Take a chunk of the upload."""
        window = self.window
        if window is None or window.transfer != event.transfer:
            if event.transfer != self._ended_transfer:
                self._out.fatal(
                    "out_of_order", f"a chunk of transfer {event.transfer}, which is not announced"
                )
            return  # else: on its way when the transfer ended
        try:
            window.take(event.offset, len(event.payload))
        except ChunkRefused as refusal:
            if refusal.code == "out_of_order":
                self._out.fatal(refusal.code, str(refusal))
            else:
                self._refuse(refusal.code, str(refusal))
            return
        self._out.do(WriteChunk(event.transfer, event.payload))
        self._finish_if_complete(window)

    # --- the platform speaks ------------------------------------------------------------------

    def upload_opened(self, event: UploadOpened) -> None:
        """Let the device send."""
        window = self.window
        if window is None or window.transfer != event.transfer:
            return
        credit = window.open(event.offset)
        self._out.send(
            wire.UploadReady(transfer=event.transfer, offset=event.offset, credit=credit)
        )
        self._finish_if_complete(window)

    def chunk_written(self, event: ChunkWritten) -> None:
        """Give credit back."""
        window = self.window
        if window is not None and window.transfer == event.transfer:
            credit = window.written(event.size_bytes)
            if credit:
                self._out.send(wire.Credit(transfer=event.transfer, size_bytes=credit))

    def update_accepted(self, event: UpdateAccepted) -> None:
        """Tell that the result counts."""
        if self._holds(event.assignment):
            self._over()
            self._out.send(wire.Accepted(assignment=event.assignment))

    def update_refused(self, event: UpdateRefused) -> None:
        """Tell why the result does not count."""
        if self._holds(event.assignment):
            self._refuse(event.code, event.message, event.errors, bound=event.bound)

    def looked_up(self, event: LookedUp) -> None:
        """Answer for an assignment that is not in hand."""
        if event.was_reported:
            self._out.send(wire.Accepted(assignment=event.assignment))
        else:
            self._stale(event.assignment)

    def cancelled(self, event: Cancelled) -> None:
        """Tell that the assignment is over, unless its result is just being counted."""
        if self._holds(event.assignment) and self._out.state is not State.REPORTING:
            self._over()
            self._out.send(
                wire.Cancelled(assignment=event.assignment, code=event.code, message=event.message)
            )

    # --- small parts --------------------------------------------------------------------------

    def _holds(self, identifier: str) -> bool:
        return self.assignment is not None and self.assignment.id == identifier

    def _is_current(self, identifier: str) -> bool:
        if self._holds(identifier):
            return True
        if identifier != self._ended:
            self._stale(identifier)
        return False

    def _is_begun(self, identifier: str, what: str) -> bool:
        if not self._is_current(identifier):
            return False
        if self._out.state is State.HELD:
            self._out.fatal("out_of_order", f"{what} before accept of assignment {identifier}")
            return False
        return True

    def _is_result_of_current(self, message: wire.Upload | wire.Report, kind: str) -> bool:
        identifier = message.assignment
        if not self._holds(identifier):
            self._out.do(LookUp(identifier))
            return False
        what = "upload" if kind == "train" else "report"
        if self._out.state is not State.WORKING:
            if self._out.state in HOLDING:
                why = "before accept" if self._out.state is State.HELD else "a second time"
                self._out.fatal("out_of_order", f"{what} {why}, of assignment {identifier}")
            return False
        if self.held().kind != kind:
            self._out.fatal(
                "out_of_order", f"{what} for a round of kind {self.held().kind}: not its answer"
            )
            return False
        return True

    def _stale(self, identifier: str) -> None:
        message = f"assignment {identifier} is not this device's, or is over"
        self._out.refuse("stale_assignment", message, identifier)

    def _refuse(
        self, code: str, message: str, errors: dict[str, str] | None = None, *, bound: bool = True
    ) -> None:
        identifier = self.held().id
        self._over()
        self._out.refuse(code, message, identifier, errors)
        if bound:
            self._give_back(identifier, "failed", code, message)

    def _finish_if_complete(self, window: Window) -> None:
        if window.is_complete:
            self._out.move(State.REPORTING)
            self._out.do(FinishUpload(window.transfer))

    def _take(self, assignment: wire.Assignment) -> None:
        self.assignment = assignment
        self._accepted = False

    def _over(self) -> None:
        self._drop()
        self._out.move(State.FREE)

    def _drop(self) -> None:
        assert self.assignment is not None
        if self.window is not None:
            self._ended_transfer = self.window.transfer
        self._ended = self.assignment.id
        self.assignment = self.window = None
        self._out.do(StopTransfers(self._ended))

    def _give_back(self, identifier: str, status: str, code: str, message: str) -> None:
        self._out.do(GiveBack(identifier, status, code, message[:500]))  # type: ignore[arg-type]
