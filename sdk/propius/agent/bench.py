"""The part of the session that works on the one assignment in hand.

Every method adds instructions to the outbox; none does I/O.
"""

from __future__ import annotations

from propius import wire
from propius.agent.events import (
    CancelTraining,
    Deliver,
    Delivered,
    DownloadFinished,
    Failed,
    Finished,
    Forget,
    PauseWork,
    ResumeWork,
    StartDownload,
    StartUpload,
    Train,
    TrainingFinished,
    TransferProgress,
)
from propius.agent.outbox import Outbox
from propius.agent.work import Stage, Work

GIVEN_BACK = "the owner's conditions have not held for too long"
PROGRESS_SHARE = 4.0
"""Progress is sent every lease / 4; the protocol asks for a third, the rest is margin."""
SOONEST_S = 0.25
"""However short a lease: a platform shall not keep a device busy with that."""


class Bench:
    """Holds at most one assignment and moves it through its stages.

    Methods that may end the work return ``True`` when it is over, so that the session can ask
    for more.
    """

    def __init__(self, out: Outbox, held: Work | None = None) -> None:
        self.out = out
        self.work = held
        self.paused = False
        self.give_back_at: float | None = None

    def holds(self, assignment: str | None) -> bool:
        """Tell whether this is the assignment in hand."""
        return self.work is not None and self.work.assignment.id == assignment

    def take(self, assignment: wire.Assignment) -> None:
        """Accept an assignment and fetch what it needs."""
        self.out.send(wire.Accept(assignment=assignment.id))
        self.out.note("assignment.taken", assignment=assignment.id, job=assignment.job)
        self.work = work = Work(assignment, self.out.now)
        work.missing = work.blobs()
        self._schedule(work)
        for blob in list(work.missing.values()):
            self._download(work, blob)

    def resume(self) -> bool:
        """Carry on after a broken connection, with the same assignment."""
        work = self.work
        assert work is not None
        identifier = work.assignment.id
        self.out.note("assignment.resumed", assignment=identifier, stage=work.stage.value)
        # The first Accept may have been lost with the connection.
        self.out.send(wire.Accept(assignment=identifier))
        if work.failure is not None:
            return self.fail(work.failure, online=True)
        if work.finished is not None and not self.paused:
            self.announce()
        elif work.stage is Stage.DOWNLOADING:
            for blob in list(work.missing.values()):
                self._download(work, blob)
        else:
            self.progress()
        return False

    def pause(self, grace_s: float) -> None:
        """Stop for now: the owner's conditions do not hold. Give the work back after a grace."""
        self.paused = True
        self.out.do(PauseWork())
        if self.work is not None and self.work.stage in (Stage.DOWNLOADING, Stage.WORKING):
            self.give_back_at = self.out.now + grace_s

    def go_on(self, *, online: bool) -> None:
        """Go on where :meth:`pause` stopped."""
        self.paused = False
        self.give_back_at = None
        self.out.do(ResumeWork())
        if online and self.work is not None and self.work.stage is Stage.FINISHED:
            self.announce()

    def overdue(self) -> bool:
        """Tell whether the pause has lasted too long."""
        return self.give_back_at is not None and self.out.now >= self.give_back_at

    def give_back(self, *, online: bool) -> bool:
        """End the work that was paused for too long."""
        self.give_back_at = None
        if self.work is None or self.work.stage not in (Stage.DOWNLOADING, Stage.WORKING):
            return False
        self.out.do(CancelTraining(self.work.assignment.id))
        return self.fail(Failed("condition", GIVEN_BACK), online=online)

    def disconnected(self) -> None:
        """Note that every transfer of the connection is gone; the work itself goes on."""
        work = self.work
        if work is None:
            return
        work.downloads.clear()
        work.upload = None
        if work.stage is Stage.SENDING:
            work.move(Stage.FINISHED)

    def transferred(self, event: TransferProgress | Delivered) -> None:
        """Note how far a transfer is, or that the leaf has had its try."""
        work = self.work
        if isinstance(event, Delivered):
            self._delivered(event)
        elif work and (event.transfer in work.downloads or event.transfer == work.upload):
            work.fraction = min(1.0, event.done / max(1, event.total))

    def training(self, assignment: str, fraction: float) -> None:
        """Note how far the trainer is."""
        if self.work is not None and self.holds(assignment):
            self.work.fraction = min(1.0, max(0.0, fraction))

    def downloaded(self, event: DownloadFinished, *, online: bool) -> bool:
        """Go on to training with the last blob; fetch a damaged one once more."""
        work = self.work
        if work is None or event.transfer not in work.downloads:
            return False
        blob = work.downloads.pop(event.transfer)
        if event.error is None:
            work.missing.pop(blob.digest, None)
            if not work.missing:
                work.move(Stage.WORKING)
                self.out.do(Train(work.assignment, self.out.now - work.taken_at))
            return False
        if event.error.code == "digest_mismatch" and blob.digest not in work.mismatched:
            work.mismatched.add(blob.digest)
            self._download(work, blob)
            return False
        return self.fail(event.error, online=online)

    def trained(self, event: TrainingFinished, *, online: bool) -> bool:
        """Send the result, or keep it until there is a connection."""
        work = self.work
        if work is None or not self.holds(event.assignment) or work.stage is not Stage.WORKING:
            return False
        self.give_back_at = None
        if isinstance(event.outcome, Failed):
            return self.fail(event.outcome, online=online)
        work.move(Stage.FINISHED)
        work.finished = event.outcome
        if online:
            self.announce()
        return False

    def announce(self) -> None:
        """Offer the finished result to the gateway."""
        work = self.work
        assert work is not None
        done = work.finished
        assert done is not None
        if self.paused:
            return  # It waits for better times, or for its lease to end.
        work.move(Stage.SENDING)
        work.announced = True
        self._schedule(work)
        one = work.assignment
        if one.kind == "evaluate":
            self.out.send(wire.Report(assignment=one.id, weight=done.weight, metrics=done.metrics))
            return
        work.upload = self.out.next_transfer()
        if one.leaf and not work.delivered:
            self.out.do(Deliver(one.id, work.upload, done, one.leaf, one.ticket))
        else:
            self._announce_update(work, done)

    def _delivered(self, event: Delivered) -> None:
        """Tell the gateway of the update, which may have it by way of the leaf now."""
        work = self.work
        if work is None or work.upload != event.transfer or work.finished is None:
            return
        work.delivered = True
        work.upload = self.out.next_transfer()
        self._announce_update(work, work.finished)

    def _announce_update(self, work: Work, done: Finished) -> None:
        assert work.upload is not None
        self.out.send(
            wire.Upload(
                assignment=work.assignment.id,
                transfer=work.upload,
                digest=done.digest,
                size_bytes=done.size_bytes,
                weight=done.weight,
                metrics=done.metrics,
            )
        )

    def upload_ready(self, message: wire.UploadReady) -> None:
        """Start the upload that the gateway is ready for."""
        work = self.work
        if work is not None and work.upload == message.transfer:
            self.out.do(
                StartUpload(work.assignment.id, message.transfer, message.offset, message.credit)
            )

    def upload_failed(self, transfer: int, error: Failed) -> bool:
        """Give the assignment back: its result is lost on this device."""
        if self.work is None or self.work.upload != transfer:
            return False
        return self.fail(error, online=True)

    def fail(self, failure: Failed, *, online: bool) -> bool:
        """Give the assignment back, now or at the next connection."""
        work = self.work
        assert work is not None
        identifier = work.assignment.id
        if not online:
            work.failure = failure
            work.move(Stage.FAILED)
            return False
        self.out.note(
            "assignment.failed", assignment=identifier, code=failure.code, message=failure.message
        )
        message = failure.message[:500]
        self.out.send(wire.Fail(assignment=identifier, code=failure.code, message=message))
        return True

    def drop(self) -> None:
        """Stop the work and delete what belongs to it."""
        if self.work is not None:
            self.out.do(CancelTraining(self.work.assignment.id))
            self.out.do(Forget(self.work.assignment.id))
            self.work = self.give_back_at = None

    def progress(self) -> None:
        """Renew the lease."""
        work = self.work
        assert work is not None
        self._schedule(work)
        self.out.send(
            wire.Progress(assignment=work.assignment.id, phase=work.phase(), fraction=work.fraction)
        )

    def progress_at(self) -> float | None:
        """Return when the lease is to be renewed."""
        return self.work.progress_at if self.work is not None else None

    def ends_at(self) -> float | None:
        """Return when the work ends by itself without a connection."""
        due = [at for at in (self._give_up_at(), self.give_back_at) if at is not None]
        return min(due, default=None)

    def give_up(self) -> None:
        """Drop work whose round must be over by now."""
        give_up_at = self._give_up_at()
        if self.work and give_up_at is not None and self.out.now >= give_up_at:
            self.out.note("assignment.given_up", assignment=self.work.assignment.id)
            self.drop()

    def _give_up_at(self) -> float | None:
        if self.work is None:
            return None
        one = self.work.assignment
        # Twice: a round that falls short is extended by its deadline once.
        return self.work.taken_at + 2 * one.deadline_s + one.lease_s

    def _schedule(self, work: Work) -> None:
        every_s = max(SOONEST_S, work.assignment.lease_s / PROGRESS_SHARE)
        work.progress_at = self.out.now + every_s

    def _download(self, work: Work, blob: wire.Blob) -> None:
        transfer = self.out.next_transfer()
        work.downloads[transfer] = blob
        one = work.assignment
        self.out.do(StartDownload(one.id, transfer, blob, one.leaf, one.ticket))
