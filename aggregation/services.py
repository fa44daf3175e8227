"""Accept what devices send back: one transaction makes an update a row with its place in order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

import jobs.services
from aggregation import blobs, ownership
from aggregation.models import Batch, Update
from aggregation.uploads import UpdateRefused
from core import hints, knobs
from jobs.models import Round

METRICS_MAX = 64
METRIC_NAME_CHARS_MAX = 100
METRIC_MAX = 1e30


@dataclass(frozen=True, slots=True)
class Accepted:
    """The update is counted. ``already``: it was before, this was a repeat."""

    sequence: int
    already: bool


@transaction.atomic
def accept_update(
    *,
    assignment_id: UUID,
    device_id: UUID,
    digest: str,
    size_bytes: int,
    weight: float,
    metrics: Mapping[str, float],
    now: datetime,
) -> Accepted:
    """Count a train update whose bytes ``UploadSink.finish`` has made durable.

    A repeat for the same assignment is accepted again and changes nothing.

    Raises jobs.services' StaleAssignment, RoundClosed, AssignmentOver; UpdateRefused; BlobMissing.
    """
    check_result(weight, metrics)
    reported = _report(assignment_id, device_id, Round.Kind.TRAIN, now)
    if isinstance(reported, Accepted):
        return reported
    ownership.claim(
        tenant_id=reported.round.tenant_id, digest=digest, size_bytes=size_bytes, now=now
    )
    blobs.store().path(digest)
    batch = _batch_for(reported.round, reported.sequence)
    Update.objects.create(
        tenant_id=reported.round.tenant_id,
        round=reported.round,
        assignment_id=assignment_id,
        sequence=reported.sequence,
        batch=batch,
        digest=digest,
        size_bytes=size_bytes,
        weight=weight,
        metrics=dict(metrics),
        accepted_at=now,
    )
    if reported.sequence == batch.last and not reported.closed:
        # The close of a round hints by itself.
        hints.send("aggregation.fold", str(reported.round.id), queue="aggregation")
    return Accepted(sequence=reported.sequence, already=False)


@transaction.atomic
def accept_report(
    *,
    assignment_id: UUID,
    device_id: UUID,
    weight: float,
    metrics: Mapping[str, float],
    now: datetime,
) -> Accepted:
    """Count the scalars of an evaluation; a repeat changes nothing.

    Raises as :func:`accept_update`.
    """
    check_result(weight, metrics)
    reported = _report(assignment_id, device_id, Round.Kind.EVALUATE, now)
    if isinstance(reported, Accepted):
        return reported
    Update.objects.create(
        tenant_id=reported.round.tenant_id,
        round=reported.round,
        assignment_id=assignment_id,
        sequence=reported.sequence,
        weight=weight,
        metrics=dict(metrics),
        accepted_at=now,
    )
    return Accepted(sequence=reported.sequence, already=False)


def already_accepted(*, assignment_id: UUID, device_id: UUID) -> bool:
    """Tell whether this device's report of this assignment is counted already."""
    return _earlier(assignment_id, device_id) is not None


def _earlier(assignment_id: UUID, device_id: UUID) -> Accepted | None:
    found = Update.objects.filter(assignment_id=assignment_id, assignment__device_id=device_id)
    sequence = found.values_list("sequence", flat=True).first()
    return None if sequence is None else Accepted(sequence=sequence, already=True)


def _report(
    assignment_id: UUID, device_id: UUID, kind: str, now: datetime
) -> jobs.services.Reported | Accepted:
    """Take a place in the round's order, or find the one that the device has already."""
    earlier = _earlier(assignment_id, device_id)
    if earlier is not None:
        return earlier
    try:
        reported = jobs.services.report(assignment_id=assignment_id, device_id=device_id, now=now)
    except jobs.services.AlreadyReported:
        # Another connection of the device was faster, and has committed by now.
        earlier = _earlier(assignment_id, device_id)
        if earlier is None:
            raise
        return earlier
    _check_kind(reported.round, kind)
    return reported


def _batch_for(round_: Round, sequence: int) -> Batch:
    """Return the batch of a sequence number, new if it is the first there.

    report() holds the round's lock, so no other transaction numbers batches now.
    """
    newest = Batch.objects.filter(round=round_).order_by("-number").first()
    if newest is not None and sequence <= newest.last:
        return newest
    return Batch.objects.create(
        tenant_id=round_.tenant_id,
        round=round_,
        number=newest.number + 1 if newest else 0,
        first=sequence,
        last=sequence + knobs.get().fold_batch - 1,
    )


def _check_kind(round_: Round, wanted: str) -> None:
    if round_.kind != wanted:
        sent = (
            "an update with tensors" if wanted == Round.Kind.TRAIN else "a report without tensors"
        )
        raise UpdateRefused(
            "wrong_kind", f"{sent} was sent, and this is a round of kind {round_.kind}"
        )


def check_result(weight: float, metrics: Mapping[str, float]) -> None:
    """Check what comes with an update or a report. Raises UpdateRefused (``bad_report``)."""
    errors = {}
    if not 0 < weight <= 1e9:
        errors["weight"] = f"{weight!r}; above 0 and at most 1e9 is allowed"
    if len(metrics) > METRICS_MAX:
        errors["metrics"] = f"{len(metrics)} metrics; at most {METRICS_MAX} are allowed"
    for name, value in list(metrics.items())[:METRICS_MAX]:
        shown = name[:METRIC_NAME_CHARS_MAX]
        if not 1 <= len(name) <= METRIC_NAME_CHARS_MAX or not name.isprintable():
            errors[f"metrics.{shown!r}"] = (
                f"a name has 1 to {METRIC_NAME_CHARS_MAX} printable characters"
            )
        elif not math.isfinite(value) or abs(value) > METRIC_MAX:
            errors[f"metrics.{shown}"] = (
                f"{value!r}; a number between -{METRIC_MAX:g} and {METRIC_MAX:g} is allowed"
            )
    if errors:
        text = "; ".join(f"{field}: {fault}" for field, fault in errors.items())
        raise UpdateRefused("bad_report", text, errors=errors)
