"""Uploads of updates: resumable, checked, durable before anyone hears that they are accepted.

Blocking file work without torch; the gateway runs each call in a thread. A sink belongs to one
connection. Its bytes outlive it: the next connection's sink of the same assignment and digest
begins where they end.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from aggregation import blobs, expected, holds, incoming, magnitudes, norms
from aggregation.chunk_sums import ChunkSums
from aggregation.models import Update
from core.errors import NotFound, PropiusError, Unprocessable
from jobs.models import Assignment, Round
from propius import codec, tensors
from propius.tensors import TensorError, TensorInfo


class UpdateRefused(Unprocessable):
    """An update that is not taken. ``code`` is stable; ``errors`` are by tensor or field."""

    def __init__(self, code: str, message: str, *, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(message, errors=errors)
        self.code = code


class AssignmentUnknown(NotFound):
    """This device holds no such assignment."""

    code = "stale_assignment"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an assignment waits for: an update of these tensors, in one of these codecs."""

    assignment_id: UUID
    tensors: Mapping[str, TensorInfo]
    codecs: Sequence[str]
    bound: norms.Bound | None = None


def wanted(*, held: Sequence[tuple[UUID, UUID]], now: datetime) -> list[Wanted | None]:
    """Return what each assignment, given with its device, waits for.

    None if its update counts already, or a leaf that is alive holds it.

    Raises AssignmentUnknown; UpdateRefused (``not_a_train_round``).
    """
    ids = [assignment_id for assignment_id, _ in held]
    # Not joined: many devices of one job would each bring its whole spec.
    rows = Assignment.objects.prefetch_related("round", "job").in_bulk(ids)
    counted = set(
        Update.objects.filter(assignment_id__in=ids).values_list("assignment_id", flat=True)
    )
    counted |= holds.alive(assignment_ids=set(ids) - counted, now=now)
    found: list[Wanted | None] = []
    for assignment_id, device_id in held:
        row = rows.get(assignment_id)
        if row is None or row.device_id != device_id:
            raise AssignmentUnknown(f"this device holds no assignment {assignment_id}")
        found.append(None if assignment_id in counted else _wanted(row))
    return found


def _wanted(row: Assignment) -> Wanted:
    if row.round.kind != Round.Kind.TRAIN:
        raise UpdateRefused(
            "not_a_train_round", "an evaluation takes a report without tensors, no upload"
        )
    return Wanted(row.id, expected.averaged(row.job), expected.codecs(row.job), _bound(row))


def _bound(row: Assignment) -> norms.Bound | None:
    most = row.job.spec.get("max_update_norm")
    if most is None:
        return None
    base = row.base_digest or row.round.base_digest
    return norms.Bound(most, blobs.store().path(base))


def open_upload(
    *, assignment_id: UUID, device_id: UUID, digest: str, size_bytes: int, max_bytes: int
) -> UploadSink:
    """Begin or resume the upload of an assignment's update; looks at the database once.

    Raises AssignmentUnknown; UpdateRefused (``too_large``, ``not_a_train_round``,
    ``upload_busy``); StorageFull.
    """
    rows = Assignment.objects.select_related("round", "job")
    held = rows.filter(id=assignment_id, device_id=device_id).first()
    if held is None:
        raise AssignmentUnknown(f"this device holds no assignment {assignment_id}")
    return open_sink(_wanted(held), digest=digest, size_bytes=size_bytes, max_bytes=max_bytes)


def open_sink(found: Wanted, *, digest: str, size_bytes: int, max_bytes: int) -> UploadSink:
    """Begin or resume an upload without a look at the database.

    Raises UpdateRefused (``too_large``, ``upload_busy``); StorageFull.
    """
    return UploadSink(
        store=blobs.store(),
        assignment_id=found.assignment_id,
        digest=digest,
        size_bytes=size_bytes,
        max_bytes=max_bytes,
        wanted=found.tensors,
        codecs=found.codecs,
        bound=found.bound,
    )


class UploadSink:
    """The bytes of one update on their way in.

    ``offset`` is how many are here already: the device goes on from there.
    """

    def __init__(
        self,
        *,
        store: blobs.BlobStore,
        assignment_id: UUID,
        digest: str,
        size_bytes: int,
        max_bytes: int,
        wanted: Mapping[str, TensorInfo],
        codecs: Sequence[str] = ("fp32",),
        bound: norms.Bound | None = None,
    ) -> None:
        if size_bytes > max_bytes:
            raise UpdateRefused(
                "too_large",
                f"the update has {size_bytes} bytes; at most {max_bytes} are allowed",
                errors={"size_bytes": f"{size_bytes}; at most {max_bytes} are allowed"},
            )
        self.digest = digest
        self.size_bytes = size_bytes
        self._store = store
        self._wanted = wanted
        self._codecs = codecs
        self._bound = bound
        self._hash = hashlib.sha256()
        self._sums = ChunkSums()
        self._path = incoming.path(store, assignment_id, digest)
        for name in os.listdir(store.incoming):
            if name.startswith(f"{assignment_id}-") and name != self._path.name:
                # One result an assignment: a device that changes its mind fills no disk.
                (store.incoming / name).unlink(missing_ok=True)
        with blobs.refusing_when_full():
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._lock()
            self.offset = self._take_up()
        except BaseException:
            self.close()
            raise

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Append what follows :attr:`offset`, in order and without a gap.

        Raises UpdateRefused (``offset_mismatch``, ``too_large``), StorageFull.
        """
        if offset != self.offset:
            raise UpdateRefused(
                "offset_mismatch",
                f"the chunk begins at byte {offset}; byte {self.offset} is next",
                errors={"offset": f"{offset}; {self.offset} is next"},
            )
        if offset + len(data) > self.size_bytes:
            self.discard()
            raise UpdateRefused(
                "too_large",
                f"more bytes than the {self.size_bytes} announced",
                errors={"size_bytes": f"{offset + len(data)}; {self.size_bytes} were announced"},
            )
        try:
            with blobs.refusing_when_full():
                blobs.write_all(self._descriptor, data)
        except blobs.StorageFull:
            self.discard()
            raise
        self._hash.update(data)
        self._sums.update(data)
        self.offset += len(data)

    def finish(self) -> None:
        """Check the whole update and make it durable under its digest.

        After this, only :func:`aggregation.services.accept_update` is left to do.

        Raises UpdateRefused (``incomplete``, ``digest_mismatch`` or the code of a TensorError),
        StorageFull. What was refused is gone; only an incomplete upload stays, to be resumed.
        """
        if self.offset != self.size_bytes:
            raise UpdateRefused(
                "incomplete",
                f"{self.offset} of {self.size_bytes} bytes have come; send the rest",
                errors={"size_bytes": f"{self.offset} of {self.size_bytes} bytes have come"},
            )
        try:
            self._check()
            with blobs.refusing_when_full():
                os.fsync(self._descriptor)
            self._store.adopt(self._path, self.digest, self._sums)
        except (PropiusError, OSError):
            # Also after a fault of the disk: a second fsync may call lost bytes safe.
            self.discard()
            raise
        self.close()

    def put_back(self) -> None:
        """After :meth:`finish`: leave the whole bytes for a repeat, which then sends none."""
        # A copy: who takes this file up may cut it, and the blob is for good.
        copy = self._path.with_name(f"{uuid.uuid4().hex}.part")
        try:
            with contextlib.suppress(OSError):
                shutil.copyfile(self._store.path(self.digest), copy)
                # Whole, and only where nobody has begun anew meanwhile: no lock stands between.
                os.link(copy, self._path)
        finally:
            copy.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go and keep the bytes, for a later connection. Safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def discard(self) -> None:
        """Let go and drop the bytes. Safe to repeat."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
        self.close()

    def _check(self) -> None:
        found = self._hash.hexdigest()
        if found != self.digest:
            raise UpdateRefused(
                "digest_mismatch",
                f"the bytes have SHA-256 {found}, announced was {self.digest}; send them again",
                errors={"digest": f"the bytes have {found}"},
            )
        try:
            header = tensors.read_header(self._path)
            chosen = codec.recognised(header, self._wanted, among=self._codecs)
            tensors.check_matches(header, codec.on_the_wire(self._wanted, codec=chosen))
            below = magnitudes.below(header, self._wanted, codec=chosen)
            tensors.check_finite(self._path, below=below)
            codec.check_values(self._path, codec=chosen, expected=self._wanted)
            if self._bound is not None:
                norms.check(self._path, self._bound, codec=chosen, tensors=self._wanted)
        except TensorError as error:
            raise UpdateRefused(error.code, str(error), errors={error.field: str(error)}) from error

    def _lock(self) -> None:
        # A device that reconnects may be faster than the end of its old connection here; two
        # writers would mix their bytes.
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpdateRefused(
                "upload_busy", "another connection is sending this update; try again in a moment"
            ) from None
        if not _same_file(self._path, self._descriptor):
            raise UpdateRefused("upload_busy", "this update has just come in; try again")

    def _take_up(self) -> int:
        """Hash what an earlier connection left; returns how many bytes that is."""
        size = os.fstat(self._descriptor).st_size
        if size > self.size_bytes:
            os.ftruncate(self._descriptor, 0)
            return 0
        position = 0
        while chunk := os.pread(self._descriptor, blobs.CHUNK_BYTES, position):
            self._hash.update(chunk)
            self._sums.update(chunk)
            position += len(chunk)
        return position


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
